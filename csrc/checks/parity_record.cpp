// PARITY with another place: what `--record` wrote there against what the same file, or another export of the same
// model, computes here.
#include <algorithm>

#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"
#include "mtt/runner/files.hpp"
#include "mtt/runner/parity.hpp"
#include "mtt/runner/record.hpp"

namespace mtt {

namespace {

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

/// The targets that a record is about.
std::vector<Target> energies(Context& context) {
    std::vector<Target> out;
    for (const auto& target : context.targets()) {
        if (target.gradients) {
            out.push_back(target);
        }
    }
    return out;
}

Result recorded(Context& context) {
    const auto versions = library_versions();
    std::vector<Record> records;
    for (const auto& target : energies(context)) {
        context.use(target);
        const auto& model = context.capabilities();
        Record record;
        record.origin = origin(model, versions);
        record.file_sha256 = hash_of(context);
        record.dtype = model.dtype;
        record.length_unit = model.length_unit;
        record.energy_unit = model.energy_unit;
        record.output = model.energy_output;
        record.systems = context.systems();
        for (const auto& system : record.systems) {
            record.references.push_back(computed(context.model(), system));
        }
        records.push_back(std::move(record));
    }
    context.use(context.targets().front());
    const auto& first = records.front();
    Result out = passed("recorded", std::to_string(first.systems.size()) + " systems, " + first.origin);
    for (const auto& system : first.systems) {
        out.systems.push_back(system.name);
    }
    context.set_recorded(record_text(records, {
        {"version", MTT_VERSION}, {"torch", versions.torch}, {"metatensor_torch", versions.metatensor_torch},
        {"metatomic_torch", versions.metatomic_torch},
    }));
    return out;
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

std::vector<Result> compared(Context& context, const Record& record) {
    const auto& model = context.capabilities();
    if (const auto problem = mismatch(record, model); !problem.empty()) {
        return {failed("reference", problem)};
    }
    auto scale = model;
    if (record.dtype == "float32") {
        scale.dtype = record.dtype;  // the coarser of the two sets the tolerance
    }
    Parity parity;
    for (size_t k = 0; k < record.systems.size(); ++k) {
        const auto& system = record.systems[k];
        const auto& reference = record.references[k];
        const auto limit = budget(Agreement::parity, scale, system, reference, summation_roundings(system.size()));
        parity.compare(system, computed(context.model(), system), reference, limit);
    }
    const bool same = !record.file_sha256.empty() && hash_of(context) == record.file_sha256;
    const std::string consequence = "what " + record.origin + " computed " +
        (same ? "from this very file" : "from another file") + " is not what comes out here";
    auto out = parity.results("recorded ", model.energy_unit, model.length_unit, consequence);
    out.insert(out.begin(), passed(
        "reference", (same ? "the same file, recorded by " : "another file, recorded by ") + record.origin));
    return out;
}

/// Each energy of the model with the record of its name; the only one with whatever was recorded, which may not fit.
std::vector<Result> compared(Context& context, const std::vector<Record>& records) {
    std::vector<Result> out;
    const auto targets = energies(context);
    for (const auto& target : targets) {
        context.use(target);
        const auto record = std::find_if(records.begin(), records.end(), [&](const Record& item) {
            return item.output == target.name;
        });
        auto results = record == records.end() && targets.size() > 1
            ? std::vector<Result>{failed("reference", "the reference has no values of '" + target.name + "'")}
            : compared(context, record == records.end() ? records.front() : *record);
        for (auto& result : results) {
            result.target = targets.size() > 1 ? target.name : "";
            out.push_back(std::move(result));
        }
    }
    context.use(context.targets().front());
    return out;
}

/// Says nothing in a run that neither makes nor uses a reference.
std::vector<Result> run(Context& context) {
    std::vector<Result> out;
    if ((context.mode().against.has_value() || context.mode().record) && !context.has_energy()) {
        return {skipped("reference", "the model has no energy")};
    }
    if (context.mode().against.has_value()) {
        std::vector<Record> records;
        try {
            records = parse_record(read_input(*context.mode().against, size_t(1) << 30));
        } catch (const std::exception& error) {
            return {failed("reference", error.what())};
        }
        out = compared(context, records);
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
}, About::file);

}  // namespace

}  // namespace mtt
