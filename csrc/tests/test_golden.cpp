#include <cstring>

#include <nlohmann/json.hpp>

#include "mtt/model/golden.hpp"
#include "testing.hpp"

using namespace mtt;
using nlohmann::json;

namespace {

/// A safetensors buffer from a header and a block of data.
std::string file(const json& header, const std::string& data) {
    const std::string text = header.dump();
    const uint64_t length = text.size();
    std::string out(8, '\0');
    std::memcpy(out.data(), &length, 8);
    return out + text + data;
}

struct Pack {
    json header;
    std::string data;

    template <typename T>
    void add(const std::string& name, const char* dtype, const std::vector<size_t>& shape, const std::vector<T>& values) {
        const size_t begin = data.size();
        data.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
        header[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {begin, data.size()}}};
    }
    [[nodiscard]] std::string bytes() const { return file(header, data); }
};

Pack good_pack() {
    Pack pack;
    const json about = {{"format", 1}, {"length_unit", "angstrom"}, {"energy_unit", "eV"}, {"output", "energy"},
                        {"dtype", "float64"}, {"systems", {"dimer"}}};
    pack.header["__metadata__"] = {{"mtt", about.dump()}};
    pack.add<int32_t>("0/types", "I32", {2}, {1, 8});
    pack.add<double>("0/positions", "F64", {2, 3}, {0, 0, 0, 1, 0, 0});
    pack.add<double>("0/cell", "F64", {3, 3}, std::vector<double>(9, 0.0));
    pack.add<uint8_t>("0/pbc", "U8", {3}, {0, 0, 0});
    pack.add<double>("0/energy", "F64", {1}, {-2.5});
    pack.add<double>("0/energies", "F64", {2}, {-1.0, -1.5});
    pack.add<double>("0/forces", "F64", {2, 3}, {0.5, 0, 0, -0.5, 0, 0});
    pack.add<double>("0/virial", "F64", {3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
    return pack;
}

Pack several_targets() {
    Pack pack;
    const json energy = {{"name", "energy/pbe"}, {"quantity", "energy"}, {"unit", "eV"}, {"per", "system"}, {"type", "scalar"},
                         {"properties", 1}, {"gradients", {"positions", "strain"}}, {"description", ""}};
    const json charges = {{"name", "mtt::charges"}, {"quantity", "charge"}, {"unit", "e"}, {"per", "atom"}, {"type", "scalar"},
                          {"properties", 2}, {"gradients", json::array()}, {"description", ""}};
    const json about = {{"format", 2}, {"length_unit", "angstrom"}, {"dtype", "float64"}, {"targets", {energy, charges}},
                        {"systems", {"dimer"}}};
    pack.header["__metadata__"] = {{"mtt", about.dump()}};
    pack.add<int32_t>("0/types", "I32", {2}, {1, 8});
    pack.add<double>("0/positions", "F64", {2, 3}, {0, 0, 0, 1, 0, 0});
    pack.add<double>("0/cell", "F64", {3, 3}, std::vector<double>(9, 0.0));
    pack.add<uint8_t>("0/pbc", "U8", {3}, {0, 0, 0});
    pack.add<double>("0/energy/pbe/atoms", "F64", {2, 1}, {-1.0, -1.5});
    pack.add<double>("0/energy/pbe/total", "F64", {1}, {-2.5});
    pack.add<double>("0/energy/pbe/forces", "F64", {2, 3}, {0.5, 0, 0, -0.5, 0, 0});
    pack.add<double>("0/energy/pbe/virial", "F64", {3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
    pack.add<double>("0/mtt::charges/atoms", "F64", {2, 2}, {1, 2, 3, 4});
    return pack;
}

}  // namespace

TEST("a good golden pack is read as it was written") {
    const auto pack = parse_golden(good_pack().bytes());
    CHECK(pack.format == 1 && pack.length_unit == "angstrom" && pack.targets.size() == 1);
    CHECK(pack.targets[0].target.name == "energy" && pack.targets[0].target.unit == "eV");
    CHECK(pack.systems.size() == 1);
    CHECK(pack.systems[0].name == "dimer");
    CHECK(pack.systems[0].types == (std::vector<int32_t>{1, 8}));
    CHECK(pack.systems[0].positions[1] == (Vec3{1, 0, 0}));
    CHECK(pack.targets[0].references[0].energy == -2.5);
    CHECK(pack.targets[0].references[0].energies[1] == -1.5);
    CHECK(pack.targets[0].references[0].forces[1] == (Vec3{-0.5, 0, 0}));
    CHECK(pack.targets[0].references[0].virial[1] == (Vec3{4, 5, 6}));
}

TEST("a pack of several targets is read") {
    const auto pack = parse_golden(several_targets().bytes());
    CHECK(pack.format == 2 && pack.targets.size() == 2);
    const auto& energy = pack.targets[0];
    CHECK(energy.target.name == "energy/pbe" && energy.target.gradients && energy.target.per_system);
    CHECK(energy.references[0].energy == -2.5 && energy.references[0].virial[1] == (Vec3{4, 5, 6}));
    const auto& charges = pack.targets[1];
    CHECK(charges.target.name == "mtt::charges" && !charges.target.gradients && !charges.target.per_system);
    CHECK(charges.target.numbers() == 2 && charges.references.empty());
    CHECK(charges.values[0].atoms == (std::vector<double>{1, 2, 3, 4}) && charges.values[0].total.empty());
}

TEST("a pack may lack what very many members give of atoms") {
    const auto pack_of = [](const std::string& quantity, size_t members, std::vector<size_t> shape,
                            const char* per = "system") {
        auto pack = several_targets();
        auto about = json::parse(pack.header["__metadata__"]["mtt"].get<std::string>());
        about["targets"][1]["name"] = "energy_ensemble";
        about["targets"][1]["quantity"] = quantity;
        about["targets"][1]["per"] = per;
        about["targets"][1]["properties"] = members;
        pack.header["__metadata__"]["mtt"] = about.dump();
        size_t count = 1;
        for (const size_t n : shape) {
            count *= n;
        }
        pack.add<double>("0/energy_ensemble/atoms", "F64", shape, std::vector<double>(count, 1.0));
        pack.add<double>("0/energy_ensemble/total", "F64", {members}, std::vector<double>(members, 2.0));
        return pack.bytes();
    };
    for (const size_t members : {size_t(4097), size_t(131072)}) {
        const auto pack = parse_golden(pack_of("ensemble", members, {0}));
        CHECK(pack.targets[1].target.is_ensemble() && pack.targets[1].values[0].atoms.empty());
        CHECK(pack.targets[1].values[0].total.size() == members);
    }
    CHECK(parse_golden(pack_of("ensemble", 4097, {2, 4097})).targets[1].values[0].atoms.size() == 2 * 4097);
    CHECK_THROWS(parse_golden(pack_of("ensemble", 4097, {1, 4097})), std::runtime_error, "wrong shape");
    CHECK_THROWS(parse_golden(pack_of("ensemble", 4096, {0})), std::runtime_error, "wrong shape");
    CHECK_THROWS(parse_golden(pack_of("ensemble", 4097, {0}, "atom")), std::runtime_error, "wrong shape");
    CHECK_THROWS(parse_golden(pack_of("charge", 4097, {0})), std::runtime_error, "wrong shape");
    CHECK_THROWS(parse_golden(pack_of("ensemble", 131073, {0})), std::runtime_error, "impossible number of properties");
}

TEST("systems may have a charge and a spin") {
    const auto in_state = [](const char* dtype, std::vector<int32_t> state) {
        auto pack = several_targets();
        auto about = json::parse(pack.header["__metadata__"]["mtt"].get<std::string>());
        about["format"] = 3;
        pack.header["__metadata__"]["mtt"] = about.dump();
        pack.add<int32_t>("0/state", dtype, {state.size()}, state);
        return pack.bytes();
    };
    const auto pack = parse_golden(in_state("I32", {-1, 2}));
    CHECK(pack.format == 3 && pack.systems[0].charge == -1.0 && pack.systems[0].spin_multiplicity == 2.0);
    const auto neutral = parse_golden(several_targets().bytes());
    CHECK(neutral.systems[0].charge == 0.0 && neutral.systems[0].spin_multiplicity == 1.0);
    CHECK_THROWS(parse_golden(in_state("I32", {1})), std::runtime_error, "'0/state' has the wrong shape");
    CHECK_THROWS(parse_golden(in_state("F32", {1, 2})), std::runtime_error, "'0/state' is not I32");
}

TEST("targets that turn with the system say of which blocks a row is made") {
    const auto described = [](const std::function<void(json&)>& change) {
        auto pack = several_targets();
        auto about = json::parse(pack.header["__metadata__"]["mtt"].get<std::string>());
        change(about["targets"][1]);
        pack.header["__metadata__"]["mtt"] = about.dump();
        return pack.bytes();
    };
    // Two properties are as many numbers as two irreps of degree 0 with one.
    const auto pack = parse_golden(described([](json& target) {
        target["type"] = "spherical";
        target["irreps"] = {{0, 1}, {0, -1}};
        target["properties"] = 1;
    }));
    const auto& target = pack.targets[1].target;
    CHECK(target.key_names == (std::vector<std::string>{"o3_lambda", "o3_sigma"}) && target.blocks.size() == 2);
    CHECK(target.blocks[1].key == (std::vector<int32_t>{0, -1}) && target.numbers() == 2);
    // Their tensors are those of two numbers.
    CHECK_THROWS(parse_golden(described([](json& item) { item["type"] = "vector"; })), std::runtime_error, "wrong shape");
    CHECK_THROWS(parse_golden(described([](json& item) { item["type"] = "matrix"; })), std::runtime_error, "wrong shape");
    CHECK_THROWS(parse_golden(described([](json& item) { item["type"] = "spherical"; })), std::runtime_error,
                 "no list of irreps");
    for (const auto& irreps : {json::array(), json({{13, 1}}), json({{1, 2}}), json({{-1, 1}}), json({1}), json("1")}) {
        CHECK_THROWS(parse_golden(described([&](json& item) {
            item["type"] = "spherical";
            item["irreps"] = irreps;
        })), std::runtime_error, "irreps");
    }
    CHECK(parse_golden(described([](json& item) { item["type"] = "spinor"; })).targets.size() == 1);
}

TEST("what is wrong with a target is named") {
    const auto refused = [](const std::function<void(json&)>& change, const std::string& message) {
        auto pack = several_targets();
        auto about = json::parse(pack.header["__metadata__"]["mtt"].get<std::string>());
        change(about);
        pack.header["__metadata__"]["mtt"] = about.dump();
        CHECK_THROWS(parse_golden(pack.bytes()), std::runtime_error, message);
    };
    refused([](json& j) { j.erase("targets"); }, "no list 'targets'");
    refused([](json& j) { j["targets"][0] = 3; }, "no list of gradients");
    refused([](json& j) { j["targets"][0].erase("unit"); }, "no text 'unit'");
    refused([](json& j) { j["targets"][0]["per"] = "cell"; }, "neither system nor atom");
    refused([](json& j) { j["targets"][1]["properties"] = -1; }, "impossible number of properties");
    refused([](json& j) { j["targets"][1]["properties"] = 3; }, "'0/mtt::charges/atoms' has the wrong shape");
    refused([](json& j) { j["targets"][0]["name"] = "energy"; }, "no tensor '0/energy/atoms'");
    refused([](json& j) { j["targets"][1]["gradients"] = {"positions", "strain"}; }, "not one number per system");
}

TEST("every truncation of a golden pack is refused") {
    const auto bytes = good_pack().bytes();
    for (size_t length = 0; length < bytes.size(); ++length) {
        CHECK_THROWS(parse_golden(bytes.substr(0, length)), std::runtime_error, "golden pack: ");
    }
}

TEST("damaged bytes never crash the reader") {
    const auto bytes = good_pack().bytes();
    for (size_t at = 0; at < bytes.size(); ++at) {
        for (const char bit : {'\x01', '\x40', '\x80'}) {
            auto damaged = bytes;
            damaged[at] = char(damaged[at] ^ bit);
            try {
                (void)parse_golden(damaged);
            } catch (const std::exception&) {
                continue;  // refused, or only a number has changed
            }
        }
    }
}

TEST("what is wrong is named") {
    const auto refused = [](const std::function<void(Pack&)>& change, const std::string& message) {
        auto pack = good_pack();
        change(pack);
        CHECK_THROWS(parse_golden(pack.bytes()), std::runtime_error, message);
    };
    refused([](Pack& p) { p.header.erase("0/virial"); }, "no tensor '0/virial'");
    refused([](Pack& p) { p.header["0/energy"]["dtype"] = "F32"; }, "'0/energy' is not F64");
    refused([](Pack& p) { p.header["0/forces"]["shape"] = {3, 3}; }, "'0/forces' has the wrong shape");
    refused([](Pack& p) { p.header["0/forces"]["shape"] = {-1, 3}; }, "impossible shape");
    refused([](Pack& p) { p.header["0/types"]["shape"] = {1ULL << 62, 4}; }, "impossible shape");
    // 1024^7 is 0 in 64 bits.
    refused([](Pack& p) { p.header["0/types"]["shape"] = std::vector<int>(7, 1024); }, "impossible shape");
    refused([](Pack& p) { p.header["0/energy"]["data_offsets"] = {0, 1ULL << 60}; }, "outside of the record");
    refused([](Pack& p) { p.header["0/energy"]["data_offsets"] = {8, 0}; }, "outside of the record");
    refused([](Pack& p) { p.header["0/energy"]["data_offsets"] = {0, 16}; }, "wrong number of bytes");
    refused([](Pack& p) { p.header["0/energy"].erase("data_offsets"); }, "no data offsets");
    refused([](Pack& p) { p.header["0/energy"] = 5; }, "no tensor '0/energy'");
    refused([](Pack& p) { p.header.erase("__metadata__"); }, "no metadata entry");
    refused([](Pack& p) { p.header["__metadata__"]["mtt"] = "{"; }, "is not JSON");
    refused([](Pack& p) { p.header["__metadata__"]["mtt"] = R"({"format": 4})"; }, "format 4 is not known");
    refused([](Pack& p) { p.header["__metadata__"]["mtt"] = R"({"format": 1})"; }, "no text 'length_unit'");
}
