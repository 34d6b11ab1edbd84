// SCHEMA: shape and labels of what the model returns, for whole systems and for selected atoms. metatomic's own
// consistency check does not compare the values of sample labels, so a model may ignore `selected_atoms` unseen.
#include <algorithm>
#include <numeric>

#include "mtt/model/outputs.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

/// Empty if the layout is what metatomic documents for an energy.
std::string layout_problem(const Answer& answer, Kind kind, const std::string& dtype, const Target& target) {
    const std::vector<std::string> names =
        kind == Kind::atom ? std::vector<std::string>{"system", "atom"} : std::vector<std::string>{"system"};
    if (answer.blocks != 1 || answer.key_names != std::vector<std::string>{"_"}) {
        return "the energy has " + std::to_string(answer.blocks) + " blocks; engines read exactly one, with key '_'";
    }
    if (answer.dtype != dtype) {
        return "the energy is " + answer.dtype + ", but the model declares " + dtype;
    }
    if (answer.sample_names != names) {
        return "the samples of the energy do not have the right names";
    }
    if (answer.shape.size() != 2 || answer.shape[1] != 1) {
        return "the energy block is not a matrix with one column";
    }
    if (is_energy(target.name) && answer.property_names != std::vector<std::string>{"energy"}) {
        return "the property of the energy block is not named 'energy'";
    }
    if (!answer.explicit_gradients.empty()) {
        return "the energy block carries explicit gradients that nobody asked for";
    }
    return "";
}

Result layout_result(Context& context, Kind kind) {
    const std::string name = kind == Kind::atom ? "per-atom output" : "output";
    for (const auto& system : context.systems()) {
        Call call;
        call.systems = {system};
        call.kind = kind;
        call.gradients = false;
        const auto answer = context.model().evaluate(call);
        const auto problem = layout_problem(answer, kind, context.capabilities().dtype, context.target());
        if (!problem.empty()) {
            return failed(name, problem + " (" + system.name + ")");
        }
        if (kind == Kind::atom) {
            rows_by_atom(answer, 0, system.size());
        } else if (answer.samples != std::vector<std::vector<int32_t>>{{0}}) {
            return failed(name, "the row of a one-system call is not labeled system 0 (" + system.name + ")");
        }
    }
    return passed(name);
}

/// Rows must belong to the atoms that their labels name: asks for atoms one by one and compares.
Result labels_result(Context& context) {
    Comparison comparison;
    auto& model = context.model();
    const auto& systems = context.systems();
    for (size_t k = 0; k < std::min<size_t>(3, systems.size()); ++k) {
        const auto& system = systems[k];
        comparison.in(system);
        Properties reference = evaluate(model, system);
        reference.energies = atomic_energies(model, system);
        const auto limit = budget(Agreement::repeat, model.capabilities(), system, reference);
        const size_t step = std::max<size_t>(1, system.size() / 4);
        for (size_t i = 0; i < system.size(); i += step) {
            Call call;
            call.systems = {system};
            call.gradients = false;
            call.select = Select::listed;
            call.selected = {{0, int32_t(i)}};
            const double alone = single_row(model.evaluate(call));
            comparison.add(alone - reference.energies[i], 2 * limit.atomic_energy,
                           "atom " + std::to_string(i) + " of " + system.name);
        }
    }
    return judged(
        "rows belong to atoms", comparison, model.capabilities().energy_unit,
        "the energy of one selected atom is not the row labeled with that atom: per-atom energies (and every "
        "quantity averaged from them) would be given to the wrong atoms"
    );
}

/// A subset of atoms, in an order of its own, over two systems in one call.
Result selection_result(Context& context) {
    auto& model = context.model();
    const auto& systems = context.systems();
    if (systems.size() < 2) {
        return skipped("selected atoms", "needs two systems");
    }
    Call call;
    call.systems = {systems[0], systems[1]};
    call.gradients = false;
    call.kind = Kind::atom;
    call.select = Select::listed;
    for (size_t s = 0; s < 2; ++s) {
        for (size_t i = systems[s].size(); i-- > 0;) {
            if (i % 2 == 0) {
                call.selected.emplace_back(int32_t(s), int32_t(i));
            }
        }
    }
    const auto answer = model.evaluate(call);
    if (answer.values.size() != call.selected.size()) {
        return failed(
            "selected atoms", "asked for " + std::to_string(call.selected.size()) + " selected atoms of two systems, "
            "the model returned " + std::to_string(answer.values.size()) + " rows: on several MPI ranks ghost atoms "
            "are counted again and the energy is a multiple of the right one"
        );
    }
    auto expected = call.selected;
    std::vector<std::pair<int32_t, int32_t>> got;
    for (const auto& sample : answer.samples) {
        got.emplace_back(sample.at(0), sample.at(1));
    }
    std::sort(expected.begin(), expected.end());
    std::sort(got.begin(), got.end());
    if (expected != got) {
        return failed("selected atoms", "the rows are not labeled with the selected atoms: per-atom energies would "
                      "be given to the wrong atoms");
    }
    return passed("selected atoms", std::to_string(got.size()) + " of two systems, in reversed order");
}

std::vector<Result> run(Context& context) {
    std::vector<Result> out = {guarded("output", [&] { return layout_result(context, Kind::system); })};
    if (!context.capabilities().per_atom()) {
        out.push_back(skipped("per-atom output", "the model declares its energy per system only"));
        return out;
    }
    out.push_back(guarded("per-atom output", [&] { return layout_result(context, Kind::atom); }));
    if (out.back().status == Status::pass) {
        out.push_back(guarded("selected atoms", [&] { return selection_result(context); }));
        out.push_back(guarded("rows belong to atoms", [&] { return labels_result(context); }));
    }
    return out;
}

const Registered check({
    "SCHEMA", "outputs",
    "One block with the right labels, per system and per atom; rows belong to the selected atoms.",
    "row for row: 'repeat' of the tolerance table",
    {"output", "per-atom output", "selected atoms", "rows belong to atoms"}, run,
});

}  // namespace

}  // namespace mtt
