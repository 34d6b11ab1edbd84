// SCHEMA: an MPI rank that owns no atoms still calls the model and calls backward(). LAMMPS reshapes the energy to one
// number, so anything but one row of zero with a gradient path aborts the run. GROMACS adds up the rows that there are,
// of whatever kind the model declares.
#include <cmath>

#include "mtt/checks/empty_rank.hpp"
#include "mtt/engines/uses.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

const char* const empty_rank = "a rank has no atoms";
using Whom = std::vector<std::string>;

Call without_selection(const System& system, Kind kind) {
    Call call;
    call.systems = {system};
    call.select = Select::listed;
    call.kind = kind;
    return call;
}

/// Whatever the rows are called, their sum is what a rank adds.
std::optional<Result> not_zero(const std::string& name, const Answer& answer, const Whom& whom) {
    double sum = 0.0;
    for (const double value : answer.values) {
        sum = std::isnan(value) ? value : sum + std::abs(value);
    }
    if (sum != 0.0) {
        return failed(name, "without selected atoms the energy is " + short_number(sum) +
                      " instead of 0: each MPI rank without atoms adds a constant of its own").only(whom).when(empty_rank);
    }
    if (!(largest(answer.forces.at(0)) == 0.0) || !(largest(answer.virials.at(0)) == 0.0)) {
        return failed(name, "without selected atoms the gradients are not zero: ranks without atoms push the others")
            .only(whom).when(empty_rank);
    }
    return {};
}

/// The same call as of engines that watch the uncertainty, where the model has one.
Result judge_uncertainty(Context& context, const std::string& name, const System& system, Kind kind, const Whom& whom) {
    auto call = without_selection(system, kind);
    const auto output = add_uncertainty(call, context.capabilities());
    if (output.empty()) {
        return passed(name);
    }
    try {
        const auto answer = context.model().evaluate(call);
        if (const auto problem = uncertainty_problem(answer, output); !problem.empty()) {
            return failed(name, "without selected atoms " + problem).only(whom).when(with_uncertainty);
        }
        const auto problem = not_zero(name, answer, whom);
        return problem.has_value() ? *problem : passed(name);
    } catch (const std::exception& error) {
        return failed(name, "a call without selected atoms fails when '" + output + "' is asked for beside the energy, so an "
                      "MPI rank without atoms aborts all ranks", error).as(Severity::stops).only(whom).when(with_uncertainty);
    }
}

/// @param whom that make this call
/// @param one_row those of them that want one row per system, and no other number of rows
Result judge(Context& context, const std::string& name, const System& system, Kind kind, const Whom& whom, const Whom& one_row) {
    Answer answer;
    try {
        answer = context.model().evaluate(without_selection(system, kind));
    } catch (const std::exception& error) {
        return failed(name, "a call without selected atoms fails, so an MPI rank without atoms aborts all ranks", error)
            .as(Severity::stops).only(whom).when(empty_rank);
    }
    if (!one_row.empty() && answer.values.size() != 1) {
        return failed(name, "without selected atoms the model returned " + std::to_string(answer.values.size()) +
                      " rows instead of 1: LAMMPS reshapes them to one number, and an MPI rank without atoms aborts all ranks")
            .as(Severity::stops).only(one_row).when(empty_rank);
    }
    if (kind == Kind::atom && !answer.values.empty()) {
        return failed(name, "without selected atoms the model returned " + std::to_string(answer.values.size()) +
                      " rows of atoms instead of none: they count as those of other atoms").only(whom).when(empty_rank);
    }
    const auto problem = not_zero(name, answer, whom);
    return problem.has_value() ? *problem : judge_uncertainty(context, name, system, kind, whom);
}

std::vector<Result> run(Context& context) {
    const Whom lammps = {"lammps:ranks=several"};
    const Whom gromacs = {"gromacs:ranks=several"};
    const Whom both = {"lammps:ranks=several", "gromacs:ranks=several"};
    const bool per_atom = context.capabilities().per_atom();
    const auto& system = context.systems().front();
    System nothing;
    nothing.name = "0 atoms";
    nothing.pbc = {true, true, true};
    nothing.cell = {{{10, 0, 0}, {0, 10, 0}, {0, 0, 10}}};

    std::vector<Result> out;
    const auto look = [&](const std::string& name, const System& at) {
        // GROMACS asks for energies of atoms if the model has them, LAMMPS for one of the system in any case.
        out.push_back(judge(context, name, at, Kind::system, per_atom ? lammps : both, lammps));
    };
    look("rank without atoms", system);
    if (per_atom) {
        out.push_back(judge(context, "rank without atoms (per-atom energies)", system, Kind::atom, both, {}));
    }
    const std::string last = "rank without atoms and ghosts";
    look(last, nothing);
    if (per_atom) {
        auto atoms = judge(context, last, nothing, Kind::atom, gromacs, {});
        if (atoms.status == Status::fail && out.back().status == Status::fail && atoms.error == out.back().error && !atoms.error.empty()) {
            out.back().matters = both;
        } else if (atoms.status == Status::fail) {
            out.push_back(std::move(atoms));
        }
    }
    return out;
}

const Registered check({
    "SCHEMA", "empty selection",
    "No selected atoms gives zero that keeps the gradient path, with and without ghosts: one row of it per system, and no "
    "uncertainty of an atom beside it.", "exact",
    {"rank without atoms", "rank without atoms (per-atom energies)", "rank without atoms and ghosts"}, run,
    Level::quick, uses_with(&Use::decomposes),
});

}  // namespace

}  // namespace mtt
