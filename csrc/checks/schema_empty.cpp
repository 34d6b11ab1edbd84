// SCHEMA: an MPI rank that owns no atoms still calls the model and calls backward(). LAMMPS reshapes the answer to one
// number, so anything but one row of zero with a gradient path aborts the run.
#include <cmath>

#include "mtt/engines/uses.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

Result empty_selection(Context& context, const System& system, Kind kind, const std::string& name) {
    Call call;
    call.systems = {system};
    call.select = Select::listed;
    call.kind = kind;
    Answer answer;
    try {
        answer = context.model().evaluate(call);
    } catch (const std::exception& error) {
        return failed(name, "a call without selected atoms fails, so an MPI rank without atoms aborts all ranks: " +
                      explain(error));
    }
    const size_t rows = kind == Kind::atom ? 0 : 1;
    if (answer.values.size() != rows) {
        return failed(name, "without selected atoms the model returned " + std::to_string(answer.values.size()) +
                      " rows instead of " + std::to_string(rows) + ": an MPI rank without atoms aborts all ranks");
    }
    for (const double value : answer.values) {
        if (value != 0.0) {
            return failed(name, "without selected atoms the energy is " + short_number(value) +
                          " instead of 0: each MPI rank adds a constant of its own");
        }
    }
    if (!(largest(answer.forces.at(0)) == 0.0) || !(largest(answer.virials.at(0)) == 0.0)) {
        return failed(name, "without selected atoms the gradients are not zero: ranks without atoms push the others");
    }
    return passed(name);
}

std::vector<Result> run(Context& context) {
    const auto& system = context.systems().front();
    std::vector<Result> out = {empty_selection(context, system, Kind::system, "rank without atoms")};
    if (context.capabilities().per_atom()) {
        out.push_back(empty_selection(context, system, Kind::atom, "rank without atoms (per-atom energies)"));
    }
    System nothing;
    nothing.name = "0 atoms";
    nothing.pbc = {true, true, true};
    nothing.cell = {{{10, 0, 0}, {0, 10, 0}, {0, 0, 10}}};
    out.push_back(empty_selection(context, nothing, Kind::system, "rank without atoms and ghosts"));
    return out;
}

const Registered check({
    "SCHEMA", "empty selection",
    "No selected atoms gives one row of zero that keeps the gradient path, with and without ghosts.", "exact",
    {"rank without atoms", "rank without atoms (per-atom energies)", "rank without atoms and ghosts"}, run,
    Level::quick, uses_with(&Use::decomposes),
});

}  // namespace

}  // namespace mtt
