// PARITY with another place: what `--record` wrote there against what the same file, or another export of the same
// model, computes here.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "mtt/check.hpp"
#include "mtt/context.hpp"
#include "mtt/engine.hpp"
#include "mtt/record.hpp"

namespace mtt {

namespace {

constexpr size_t most_points = 400;

Properties computed(Model& model, const System& system) {
    auto out = evaluate(model, system);
    if (model.capabilities().per_atom()) {
        out.energies = atomic_energies(model, system);
    }
    return out;
}

std::string origin(const Capabilities& model, const LibraryVersions& versions) {
    return "torch " + versions.torch + " on " + machine() + ", cpu, " + model.dtype;
}

/// Of the model file; empty in tests that have none.
std::string hash_of(const Context& context) {
    return context.archive() == nullptr ? "" : file_sha256(context.archive()->path());
}

Result recorded(Context& context) {
    const auto& model = context.capabilities();
    const auto versions = library_versions();
    Record record;
    record.origin = origin(model, versions);
    record.file_sha256 = hash_of(context);
    record.dtype = model.dtype;
    record.length_unit = model.length_unit;
    record.energy_unit = model.energy_unit;
    record.output = model.energy_output;
    record.systems = context.systems();
    Result out = passed("recorded", std::to_string(record.systems.size()) + " systems, " + record.origin);
    for (const auto& system : record.systems) {
        record.references.push_back(computed(context.model(), system));
        out.systems.push_back(system.name);
    }
    context.set_recorded(record_text(record, {
        {"version", MTT_VERSION}, {"torch", versions.torch}, {"metatensor_torch", versions.metatensor_torch},
        {"metatomic_torch", versions.metatomic_torch},
    }));
    return out;
}

Record read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    if (!file || !(text << file.rdbuf())) {
        throw std::runtime_error("the reference can not be read: '" + path + "'");
    }
    return parse_record(text.str());
}

/// Numbers are comparable only in the same units, of the same output.
std::string mismatch(const Record& record, const Capabilities& model) {
    const std::array<std::string, 3> rows[] = {
        {"length unit", record.length_unit, model.length_unit},
        {"energy unit", record.energy_unit, model.energy_unit},
        {"output", record.output, model.energy_output},
    };
    for (const auto& [what, there, here] : rows) {
        if (there != here) {
            return "the reference is about another model: its " + what + " is '" + there + "', here '" + here + "'";
        }
    }
    return "";
}

struct Comparisons {
    Comparison energies;
    Comparison atoms;
    Comparison forces;
    Comparison virials;
    std::vector<Point> energy_points;
    std::vector<Point> force_points;
    std::vector<Point> virial_points;
};

void compare(const System& system, const Properties& got, const Properties& reference, const Budget& limit,
             Comparisons& out) {
    const auto& where = system.name;
    out.energies.energies(got.energy, reference.energy, limit, where);
    if (!reference.energies.empty() && !got.energies.empty()) {
        out.atoms.atomic_energies(got.energies, reference.energies, limit, where);
    }
    out.forces.forces(got.forces, reference.forces, limit, where);
    out.virials.virials(got.virial, reference.virial, limit, where);
    out.energy_points.push_back({reference.energy, got.energy, where});
    for (size_t i = 0; i < std::min(got.forces.size(), reference.forces.size()); ++i) {
        for (int k = 0; k < 3 && out.force_points.size() < most_points; ++k) {
            out.force_points.push_back({reference.forces[i][k], got.forces[i][k], where});
        }
    }
    for (int i = 0; i < 3; ++i) {
        for (int k = 0; k < 3; ++k) {
            out.virial_points.push_back({reference.virial[i][k], got.virial[i][k], where});
        }
    }
}

Result with(Result result, std::vector<Point> series, const std::vector<std::string>& systems) {
    result.series = std::move(series);
    result.systems = systems;
    return result;
}

std::vector<Result> compared(Context& context, const Record& record) {
    const auto& model = context.capabilities();
    if (const auto problem = mismatch(record, model); !problem.empty()) {
        return {failed("reference", problem)};
    }
    auto scale = model;
    if (record.dtype == "float32") {
        scale.dtype = record.dtype;  // the coarser of the two sets the tolerance
    }
    Comparisons all;
    std::vector<std::string> names;
    for (size_t k = 0; k < record.systems.size(); ++k) {
        const auto& reference = record.references[k];
        const auto got = computed(context.model(), record.systems[k]);
        const auto limit = budget(
            Agreement::parity, scale, record.systems[k], reference, summation_roundings(record.systems[k].size())
        );
        compare(record.systems[k], got, reference, limit, all);
        names.push_back(record.systems[k].name);
    }
    const bool same = !record.file_sha256.empty() && hash_of(context) == record.file_sha256;
    const std::string consequence = "what " + record.origin + " computed " +
        (same ? "from this very file" : "from another file") + " is not what comes out here";
    const auto& unit = model.energy_unit;
    return {
        passed("reference", (same ? "the same file, recorded by " : "another file, recorded by ") + record.origin),
        with(judged("recorded energy", all.energies, unit, consequence), all.energy_points, names),
        with(judged("recorded atomic energies", all.atoms, unit, consequence), {}, names),
        with(judged("recorded forces", all.forces, unit + "/" + model.length_unit, consequence), all.force_points,
             names),
        with(judged("recorded virial", all.virials, unit, consequence), all.virial_points, names),
    };
}

/// Says nothing in a run that neither makes nor uses a reference.
std::vector<Result> run(Context& context) {
    std::vector<Result> out;
    if (context.mode().against.has_value()) {
        Record record;
        try {
            record = read(*context.mode().against);
        } catch (const std::exception& error) {
            return {failed("reference", error.what())};
        }
        out = compared(context, record);
    }
    if (context.mode().record) {
        out.push_back(recorded(context));
    }
    return out;
}

const Registered check({
    "PARITY", "reference",
    "Energy, per-atom energies, forces and virial equal those that --record wrote elsewhere.",
    "'parity' of the tolerance table for the coarser of the two dtypes, plus roundings of the sum over atoms",
    {"reference", "recorded energy", "recorded atomic energies", "recorded forces", "recorded virial", "recorded"},
    run,
});

}  // namespace

}  // namespace mtt
