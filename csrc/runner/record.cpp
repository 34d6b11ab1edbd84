#include "mtt/runner/record.hpp"

#include <sys/utsname.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "mtt/isolation/wire.hpp"

namespace mtt {

namespace {

using nlohmann::json;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error("the reference can not be used: " + what); }

json numbers(const std::vector<double>& values) {
    json out = json::array();
    for (const double value : values) {
        out.push_back(json_number(value));
    }
    return out;
}

json rows(const Vec3* begin, size_t count) {
    json out = json::array();
    for (size_t i = 0; i < count; ++i) {
        out.push_back(numbers({begin[i].begin(), begin[i].end()}));
    }
    return out;
}

json reference_json(const Properties& reference) {
    return {
        {"energy", json_number(reference.energy)},
        {"energies", numbers(reference.energies)},
        {"forces", rows(reference.forces.data(), reference.forces.size())},
        {"virial", rows(reference.virial.data(), 3)},
    };
}

json system_json(const System& system, const Properties& reference) {
    json out = {
        {"name", system.name},
        {"types", system.types},
        {"positions", rows(system.positions.data(), system.size())},
        {"cell", rows(system.cell.data(), 3)},
        {"pbc", system.pbc},
    };
    if (system.charge != 0.0 || system.spin_multiplicity != 1.0) {
        out["charge"] = system.charge;
        out["spin_multiplicity"] = system.spin_multiplicity;
    }
    out.update(reference_json(reference));
    return out;
}

/// A member that must be there.
const json& member(const json& object, const char* name) {
    if (!object.is_object() || !object.contains(name)) {
        fail(std::string("it has no '") + name + "'");
    }
    return object[name];
}

std::string text_of(const json& object, const char* name) {
    const auto& value = member(object, name);
    if (!value.is_string()) {
        fail(std::string("'") + name + "' is no text");
    }
    return value.get<std::string>();
}

/// A number, or null: what was no number where it was recorded.
double number_of(const json& value) {
    if (value.is_null()) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    if (!value.is_number()) {
        fail("something stands where a number should");
    }
    return value.get<double>();
}

const json& list(const json& object, const char* name, size_t size) {
    const auto& value = member(object, name);
    if (!value.is_array() || value.size() != size) {
        fail(std::string("'") + name + "' is not a list of " + std::to_string(size));
    }
    return value;
}

Vec3 vector_of(const json& value) {
    if (!value.is_array() || value.size() != 3) {
        fail("a vector has not three components");
    }
    return {number_of(value[0]), number_of(value[1]), number_of(value[2])};
}

std::vector<Vec3> vectors_of(const json& object, const char* name, size_t size) {
    std::vector<Vec3> out;
    for (const auto& row : list(object, name, size)) {
        out.push_back(vector_of(row));
    }
    return out;
}

Mat3 matrix_of(const json& object, const char* name) {
    const auto rows = vectors_of(object, name, 3);
    return {rows[0], rows[1], rows[2]};
}

System system_of(const json& item) {
    System out;
    out.name = text_of(item, "name");
    const auto& types = member(item, "types");
    if (!types.is_array()) {
        fail("'types' is no list");
    }
    for (const auto& type : types) {
        if (!type.is_number_integer()) {
            fail("an atomic type is no integer");
        }
        out.types.push_back(type.get<int32_t>());
    }
    out.positions = vectors_of(item, "positions", out.size());
    out.cell = matrix_of(item, "cell");
    const auto& pbc = list(item, "pbc", 3);
    for (size_t k = 0; k < 3; ++k) {
        if (!pbc[k].is_boolean()) {
            fail("'pbc' is not true or false");
        }
        out.pbc[k] = pbc[k].get<bool>();
    }
    if (item.contains("charge")) {
        out.charge = number_of(item["charge"]);
        out.spin_multiplicity = number_of(member(item, "spin_multiplicity"));
    }
    for (const auto& x : out.positions) {
        if (!std::isfinite(x[0] + x[1] + x[2])) {
            fail("a position is no number");
        }
    }
    for (size_t k = 0; k < 3; ++k) {
        const bool sound = std::isfinite(norm(out.cell[k])) && (out.pbc[k] ? norm(out.cell[k]) > 0 : true);
        if (!sound) {
            fail("a cell vector is zero or no number");
        }
    }
    return out;
}

Properties reference_of(const json& item, size_t atoms) {
    Properties out;
    out.energy = number_of(member(item, "energy"));
    const auto& energies = member(item, "energies");
    // Empty where the model gives no energies of atoms.
    for (const auto& value : list(item, "energies", energies.empty() ? 0 : atoms)) {
        out.energies.push_back(number_of(value));
    }
    out.forces = vectors_of(item, "forces", atoms);
    out.virial = matrix_of(item, "virial");
    return out;
}

}  // namespace

std::string machine() {
    utsname name{};
    if (uname(&name) != 0) {
        return "an unknown machine";
    }
    return std::string(name.sysname) + " " + name.machine;
}

std::string record_text(const std::vector<Record>& records, const std::vector<std::pair<std::string, std::string>>& versions) {
    json program = {{"name", "mtt-verify"}};
    for (const auto& [name, version] : versions) {
        program[name] = version;
    }
    const auto& record = records.at(0);
    json systems = json::array();
    for (size_t k = 0; k < record.systems.size(); ++k) {
        systems.push_back(system_json(record.systems[k], record.references[k]));
    }
    json out = {
        {"format", "mtt-verify record"}, {"version", 1}, {"origin", record.origin}, {"program", program},
        {"file", {{"sha256", record.file_sha256}}}, {"dtype", record.dtype}, {"length_unit", record.length_unit},
        {"energy_unit", record.energy_unit}, {"output", record.output}, {"systems", systems},
    };
    for (size_t k = 1; k < records.size(); ++k) {
        json references = json::array();
        for (const auto& reference : records[k].references) {
            references.push_back(reference_json(reference));
        }
        out["others"].push_back(
            {{"output", records[k].output}, {"energy_unit", records[k].energy_unit}, {"references", references}}
        );
    }
    return dump(out);
}

std::vector<Record> parse_record(const std::string& text) {
    const auto document = json::parse(text, nullptr, false);
    if (!document.is_object() || document.value("format", json()) != json("mtt-verify record")) {
        fail("it was not written by --record");
    }
    if (document.value("version", json()) != json(1)) {
        fail("it has version " + document.value("version", json()).dump() + ", and this program knows 1");
    }
    Record out;
    out.origin = text_of(document, "origin");
    out.file_sha256 = text_of(member(document, "file"), "sha256");
    out.dtype = text_of(document, "dtype");
    out.length_unit = text_of(document, "length_unit");
    out.energy_unit = text_of(document, "energy_unit");
    out.output = text_of(document, "output");
    const auto& systems = member(document, "systems");
    if (!systems.is_array() || systems.empty()) {
        fail("it holds no systems");
    }
    for (const auto& item : systems) {
        out.systems.push_back(system_of(item));
        out.references.push_back(reference_of(item, out.systems.back().size()));
    }
    std::vector<Record> records = {out};
    for (const auto& item : document.value("others", json::array())) {
        Record other = out;
        other.output = text_of(item, "output");
        other.energy_unit = text_of(item, "energy_unit");
        other.references.clear();
        for (const auto& reference : list(item, "references", out.systems.size())) {
            other.references.push_back(reference_of(reference, out.systems[other.references.size()].size()));
        }
        records.push_back(std::move(other));
    }
    return records;
}

}  // namespace mtt
