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

}  // namespace

TEST("a good golden pack is read as it was written") {
    const auto pack = parse_golden(good_pack().bytes());
    CHECK(pack.length_unit == "angstrom" && pack.energy_unit == "eV" && pack.output == "energy");
    CHECK(pack.systems.size() == 1);
    CHECK(pack.systems[0].name == "dimer");
    CHECK(pack.systems[0].types == (std::vector<int32_t>{1, 8}));
    CHECK(pack.systems[0].positions[1] == (Vec3{1, 0, 0}));
    CHECK(pack.references[0].energy == -2.5);
    CHECK(pack.references[0].energies[1] == -1.5);
    CHECK(pack.references[0].forces[1] == (Vec3{-0.5, 0, 0}));
    CHECK(pack.references[0].virial[1] == (Vec3{4, 5, 6}));
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
    refused([](Pack& p) { p.header["__metadata__"]["mtt"] = R"({"format": 2})"; }, "format 2 is not known");
    refused([](Pack& p) { p.header["__metadata__"]["mtt"] = R"({"format": 1})"; }, "no text 'length_unit'");
}
