#include "mtt/model/golden.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>

namespace mtt {

namespace {

using nlohmann::json;

constexpr uint64_t largest_degree = 12;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error("golden pack: " + what); }

/// Reads named tensors out of a safetensors buffer, checking every bound before it touches a byte.
class Safetensors {
public:
    explicit Safetensors(const std::string& bytes): bytes_(bytes) {
        if (bytes.size() < 8) {
            fail("shorter than its own header length");
        }
        uint64_t length = 0;
        std::memcpy(&length, bytes.data(), 8);
        if (length > bytes.size() - 8) {
            fail("the header is longer than the record");
        }
        start_ = 8 + size_t(length);
        header_ = json::parse(bytes.begin() + 8, bytes.begin() + std::ptrdiff_t(start_), nullptr, false);
        if (!header_.is_object()) {
            fail("the header is not JSON");
        }
    }

    [[nodiscard]] json metadata() const {
        const auto all = header_.find("__metadata__");
        if (all == header_.end() || !all->is_object() || !all->contains("mtt") || !(*all)["mtt"].is_string()) {
            fail("no metadata entry 'mtt'");
        }
        auto out = json::parse((*all)["mtt"].get<std::string>(), nullptr, false);
        if (!out.is_object()) {
            fail("the metadata entry 'mtt' is not JSON");
        }
        return out;
    }

    /// `columns` 0 means a vector, otherwise a matrix with that many columns. Checks dtype and shape.
    template <typename T>
    [[nodiscard]] std::vector<T> read(const std::string& name, const char* dtype, size_t rows, size_t columns) const {
        const auto entry = header_.find(name);
        if (entry == header_.end() || !entry->is_object()) {
            fail("no tensor '" + name + "'");
        }
        if (entry->value("dtype", "") != dtype) {
            fail("tensor '" + name + "' is not " + dtype);
        }
        const size_t count = rows * (columns == 0 ? 1 : columns);
        if (element_count(*entry, name) != count) {
            fail("tensor '" + name + "' has the wrong shape");
        }
        const auto [begin, end] = range(*entry, name);
        if (end - begin != count * sizeof(T)) {
            fail("tensor '" + name + "' has the wrong number of bytes");
        }
        std::vector<T> out(count);
        if (count > 0) {
            std::memcpy(out.data(), bytes_.data() + start_ + begin, count * sizeof(T));
        }
        return out;
    }

    [[nodiscard]] bool has(const std::string& name) const { return header_.contains(name); }

    [[nodiscard]] size_t length(const std::string& name) const {
        const auto entry = header_.find(name);
        if (entry == header_.end() || !entry->is_object()) {
            fail("no tensor '" + name + "'");
        }
        return element_count(*entry, name);
    }

private:
    [[nodiscard]] size_t element_count(const json& entry, const std::string& name) const {
        const auto shape = entry.find("shape");
        if (shape == entry.end() || !shape->is_array()) {
            fail("tensor '" + name + "' has no shape");
        }
        size_t count = 1;
        for (const auto& n : *shape) {
            // A tensor can not have more elements than the record has bytes; this also rules out overflow.
            if (!n.is_number_unsigned() || n.get<uint64_t>() > bytes_.size()) {
                fail("tensor '" + name + "' has an impossible shape");
            }
            count *= n.get<size_t>();
            if (count > bytes_.size()) {
                fail("tensor '" + name + "' has an impossible shape");
            }
        }
        return count;
    }

    [[nodiscard]] std::pair<size_t, size_t> range(const json& entry, const std::string& name) const {
        const auto offsets = entry.find("data_offsets");
        if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2 ||
            !(*offsets)[0].is_number_unsigned() || !(*offsets)[1].is_number_unsigned()) {
            fail("tensor '" + name + "' has no data offsets");
        }
        const auto begin = (*offsets)[0].get<uint64_t>();
        const auto end = (*offsets)[1].get<uint64_t>();
        if (begin > end || end > bytes_.size() - start_) {
            fail("tensor '" + name + "' points outside of the record");
        }
        return {begin, end};
    }

    const std::string& bytes_;
    size_t start_ = 0;
    json header_;
};

std::vector<Vec3> rows_of(const std::vector<double>& flat) {
    std::vector<Vec3> out(flat.size() / 3);
    for (size_t i = 0; i < out.size(); ++i) {
        out[i] = {flat[3 * i], flat[3 * i + 1], flat[3 * i + 2]};
    }
    return out;
}

Mat3 matrix_of(const std::vector<double>& flat) {
    return {{{flat[0], flat[1], flat[2]}, {flat[3], flat[4], flat[5]}, {flat[6], flat[7], flat[8]}}};
}

std::string text(const json& object, const char* key) {
    const auto entry = object.find(key);
    if (entry == object.end() || !entry->is_string()) {
        fail(std::string("no text '") + key + "' in the metadata");
    }
    return entry->get<std::string>();
}

System read_system(const Safetensors& file, const std::string& prefix, const std::string& name) {
    System system;
    system.name = name;
    const size_t n = file.length(prefix + "types");
    system.types = file.read<int32_t>(prefix + "types", "I32", n, 0);
    system.positions = rows_of(file.read<double>(prefix + "positions", "F64", n, 3));
    system.cell = matrix_of(file.read<double>(prefix + "cell", "F64", 3, 3));
    const auto pbc = file.read<uint8_t>(prefix + "pbc", "U8", 3, 0);
    system.pbc = {pbc[0] != 0, pbc[1] != 0, pbc[2] != 0};
    if (file.has(prefix + "state")) {
        const auto state = file.read<int32_t>(prefix + "state", "I32", 2, 0);
        system.charge = state[0];
        system.spin_multiplicity = state[1];
    }
    return system;
}

/// The tensors of one target and one system. Format 1 has other names for them.
void read_values(const Safetensors& file, const std::string& prefix, int format, size_t n, GoldenTarget& target) {
    const bool old = format == 1;
    const auto& about = target.target;
    const std::string start = old ? prefix : prefix + about.name + "/";
    GoldenValues values;
    // Of ensembles with very many members those of atoms would be larger than all else: a pack may leave them out where
    // it has those of the system.
    constexpr size_t most_members = 4096;
    const bool wide = about.per_system && about.is_ensemble() && about.numbers() > most_members;
    const std::string atoms = start + (old ? "energies" : "atoms");
    values.atoms = file.read<double>(atoms, "F64", wide && file.length(atoms) == 0 ? 0 : n, about.numbers());
    if (about.per_system) {
        values.total = file.read<double>(start + (old ? "energy" : "total"), "F64", about.numbers(), 0);
    }
    if (about.gradients) {
        Properties reference;
        reference.energy = values.total.at(0);
        reference.energies = values.atoms;
        reference.forces = rows_of(file.read<double>(start + "forces", "F64", n, 3));
        reference.virial = matrix_of(file.read<double>(start + "virial", "F64", 3, 3));
        target.references.push_back(std::move(reference));
    }
    target.values.push_back(std::move(values));
}

bool contains(const json& list, const char* text) {
    return std::find(list.begin(), list.end(), json(text)) != list.end();
}

std::vector<int32_t> range(int32_t first, int32_t last) {
    std::vector<int32_t> out;
    for (int32_t label = first; label <= last; ++label) {
        out.push_back(label);
    }
    return out;
}

/// One block for each pair of degree and parity.
void set_irreps(const json& irreps, uint64_t properties, Target& target) {
    constexpr size_t most_irreps = 100;
    if (!irreps.is_array() || irreps.empty() || irreps.size() > most_irreps) {
        fail("a spherical target has no list of irreps");
    }
    target.key_names = {"o3_lambda", "o3_sigma"};
    target.blocks.clear();
    for (const auto& irrep : irreps) {
        const bool pair = irrep.is_array() && irrep.size() == 2 && irrep[0].is_number_unsigned() && irrep[1].is_number_integer();
        if (!pair || irrep[0].get<uint64_t>() > largest_degree || (irrep[1] != json(1) && irrep[1] != json(-1))) {
            fail("a spherical target has impossible irreps");
        }
        const auto degree = irrep[0].get<int32_t>();
        target.blocks.push_back({{degree, irrep[1].get<int32_t>()}, {"o3_mu"}, {range(-degree, degree)}, properties});
    }
}

/// False for a type of target that this program has no checks of.
bool set_blocks(const json& item, uint64_t properties, Target& target) {
    const auto type = text(item, "type");
    const auto xyz = range(0, 2);
    target.key_names = {"_"};
    if (type == "scalar") {
        target.blocks = {{{0}, {}, {}, properties}};
    } else if (type == "vector") {
        target.blocks = {{{0}, {"xyz"}, {xyz}, properties}};
    } else if (type == "matrix") {
        target.blocks = {{{0}, {"xyz_1", "xyz_2"}, {xyz, xyz}, properties}};
    } else if (type == "spherical") {
        set_irreps(item.value("irreps", json()), properties, target);
    } else {
        return false;
    }
    return true;
}

/// None for a type of target that this program has no checks of.
std::optional<Target> target_of(const json& item) {
    constexpr uint64_t most_properties = 131072;
    if (!item.is_object() || !item.contains("gradients") || !item["gradients"].is_array()) {
        fail("a target has no list of gradients");
    }
    Target out;
    out.name = text(item, "name");
    out.quantity = text(item, "quantity");
    out.unit = text(item, "unit");
    const auto per = text(item, "per");
    if (per != "system" && per != "atom") {
        fail("a target is per '" + per + "', which is neither system nor atom");
    }
    out.per_system = per == "system";
    const auto properties = item.value("properties", json());
    if (!properties.is_number_unsigned() || properties.get<uint64_t>() < 1 || properties.get<uint64_t>() > most_properties) {
        fail("a target has an impossible number of properties");
    }
    const bool known = set_blocks(item, properties.get<uint64_t>(), out);
    out.additive = !out.is_uncertainty();
    out.per_volume = out.per_system && out.quantity == "stress" && text(item, "type") == "matrix";
    out.gradients = contains(item["gradients"], "positions") && contains(item["gradients"], "strain");
    if (out.gradients && (!out.per_system || !known || out.numbers() != 1)) {
        fail("a target has gradients and is not one number per system");
    }
    return known ? std::optional<Target>(out) : std::nullopt;
}

std::vector<Target> targets_of(const json& about, int format) {
    if (format == 1) {
        return {{.name = text(about, "output"), .quantity = "energy", .unit = text(about, "energy_unit")}};
    }
    if (!about.contains("targets") || !about["targets"].is_array()) {
        fail("no list 'targets' in the metadata");
    }
    std::vector<Target> out;
    for (const auto& item : about["targets"]) {
        if (const auto target = target_of(item)) {
            out.push_back(*target);
        }
    }
    return out;
}

}  // namespace

GoldenPack parse_golden(const std::string& bytes) {
    const Safetensors file(bytes);
    const json about = file.metadata();
    const json format = about.value("format", json());
    if (format != json(1) && format != json(2) && format != json(3)) {
        fail("format " + format.dump() + " is not known to this program (it knows 1 to 3)");
    }
    GoldenPack pack;
    pack.format = format.get<int>();
    pack.length_unit = text(about, "length_unit");
    pack.turns_exactly = about.value("rotations", json()) == json("exact");
    for (auto& target : targets_of(about, pack.format)) {
        pack.targets.push_back({std::move(target), {}, {}});
    }
    if (!about.contains("systems") || !about["systems"].is_array()) {
        fail("no list 'systems' in the metadata");
    }
    size_t index = 0;
    for (const auto& name : about["systems"]) {
        if (!name.is_string()) {
            fail("a system name is not text");
        }
        const std::string prefix = std::to_string(index++) + "/";
        pack.systems.push_back(read_system(file, prefix, name.get<std::string>()));
        for (auto& target : pack.targets) {
            read_values(file, prefix, pack.format, pack.systems.back().size(), target);
        }
    }
    return pack;
}

}  // namespace mtt
