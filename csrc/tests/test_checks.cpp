// The checks themselves, run on a model in plain C++: no alarm on the sound one, the right alarm on each broken one.
#include <algorithm>
#include <set>

#include "mtt/model/model.hpp"
#include "mtt/runner/check.hpp"
#include "plain_model.hpp"
#include "testing.hpp"

using namespace mtt;
using testing::Breakage;
using testing::plain_context;

namespace {

/// "FAMILY/name" of the results that failed.
std::set<std::string> failures(int layers, const Breakage& breakage) {
    std::set<std::string> out;
    auto context = plain_context(layers, breakage);
    for (const auto& check : catalogue()) {
        // These need a model that converts units, which metatomic's wrapper does.
        if (check.name == "requests" || check.family == "ENGINE" || !check.fits(context.target())) {
            continue;
        }
        for (const auto& result : check.run(context)) {
            CHECK(std::find(check.results.begin(), check.results.end(), result.name) != check.results.end());
            if (result.status == Status::fail) {
                CHECK(!result.message.empty());
                out.insert(check.family + "/" + result.name);
            }
        }
    }
    return out;
}

bool fails(const Breakage& breakage, const std::string& name, int layers = 1) {
    return failures(layers, breakage).count(name) == 1;
}

}  // namespace

TEST("the catalogue is complete and in order") {
    std::set<std::string> seen;
    std::set<std::string> names;
    for (const auto& check : catalogue()) {
        seen.insert(check.family);
        CHECK(!check.description.empty() && !check.tolerance.empty() && !check.results.empty());
        for (const auto& result : check.results) {
            CHECK(names.insert(check.family + "/" + result).second);
        }
    }
    CHECK(seen == std::set<std::string>(families().begin(), families().end()));
    CHECK(catalogue().front().family == "LOAD");
}

TEST("sound models raise no alarm") {
    for (const int layers : {1, 2}) {
        CHECK(failures(layers, {}) == std::set<std::string>{});
    }
}

TEST("forces too large by 1e-5 fail FD") {
    Breakage breakage;
    breakage.force_factor = 1.00001;
    CHECK(failures(1, breakage) == (std::set<std::string>{"FD/forces", "FD/virial"}));
}

TEST("exchanged virial elements fail FD") {
    Breakage breakage;
    breakage.swap_virial = true;
    CHECK(fails(breakage, "FD/virial"));
    CHECK(!fails(breakage, "FD/forces"));
}

TEST("a range that is too small fails DD") {
    Breakage breakage;
    breakage.range_factor = 0.5;
    CHECK(fails(breakage, "DD/receptive field", 2));
    CHECK(fails(breakage, "DD/energy", 2));
    CHECK(fails(breakage, "DD/forces", 2));
    // Wrong on the first decomposition as on later ones: nothing is remembered.
    CHECK(!fails(breakage, "DD/after re-decomposition", 2));
    breakage.range_factor = 0.99;
    CHECK(fails(breakage, "DD/receptive field", 2));
}

TEST("a range that is longer than needed is no fault") {
    Breakage breakage;
    breakage.range_factor = 1.3;
    CHECK(failures(2, breakage).empty());
}

TEST("an ignored selection fails SCHEMA and DD") {
    Breakage breakage;
    breakage.ignore_selection = true;
    CHECK(fails(breakage, "SCHEMA/selected atoms"));
    CHECK(fails(breakage, "SCHEMA/rank without atoms"));
    CHECK(fails(breakage, "DD/energy"));
}

TEST("no row for a rank without atoms fails SCHEMA and DD") {
    Breakage breakage;
    breakage.no_row_without_atoms = true;
    CHECK(fails(breakage, "SCHEMA/rank without atoms"));
    CHECK(fails(breakage, "DD/empty selection"));
}

TEST("what a rank without atoms says of uncertainties fails SCHEMA and DD, of many pairs DD alone") {
    Breakage breakage;
    breakage.uncertain = true;
    CHECK(failures(1, breakage) == std::set<std::string>{});
    const std::set<std::string> empty = {"SCHEMA/rank without atoms", "SCHEMA/rank without atoms (per-atom energies)",
                                         "SCHEMA/rank without atoms and ghosts", "DD/empty selection"};
    breakage.uncertainty_stops_from = 0;
    CHECK(failures(1, breakage) == empty);
    breakage.uncertainty_stops_from = 4096;
    CHECK(failures(1, breakage) == std::set<std::string>{"DD/empty selection"});
    Breakage ghosts;
    ghosts.uncertain = true;
    ghosts.uncertainty_of_ghosts = true;
    CHECK(fails(ghosts, "SCHEMA/rank without atoms"));
    CHECK(fails(ghosts, "DD/empty selection"));
    ghosts.uncertain = false;  // nobody asks for what is not declared
    CHECK(failures(1, ghosts) == std::set<std::string>{});
}

TEST("a drift of 1e-6 eV after two calls fails NTH") {
    Breakage breakage;
    breakage.drift_after = 2;
    CHECK(fails(breakage, "NTH/repeated calls"));
    CHECK(fails(breakage, "NTH/varying systems"));
}

TEST("a sharp cutoff fails GEO, dependence on the order of atoms fails SYM") {
    Breakage sharp;
    sharp.sharp_cutoff = true;
    CHECK(fails(sharp, "GEO/smoothness"));
    Breakage step;
    step.step_at_cutoff = 1e-5;
    CHECK(fails(step, "GEO/smoothness"));
    Breakage order;
    order.order_matters = true;
    CHECK(fails(order, "SYM/permutation"));
}

TEST("what a check compares with is asked for once, as long as the atoms and the target are the same") {
    Breakage breakage;
    breakage.drift_after = 1;  // so that a second call would show
    auto context = plain_context(1, breakage);
    const auto system = context.systems().front();
    const auto& first = context.reference(system);
    const double energy = first.energy;
    CHECK(&context.reference(system) == &first && first.energy == energy);
    CHECK(evaluate(context.model(), system).energy != energy);
    auto moved = system;
    moved.positions.front()[0] += 0.1;
    CHECK(context.reference(moved).forces != first.forces);
    CHECK(context.reference(system).energy == energy);
    context.forget_instances();
    CHECK(context.reference(moved).forces.size() == moved.size());
}

TEST("the cell for many calls is tilted, smaller than the cutoff, has all types and few pairs") {
    auto context = plain_context(2);
    const auto& cell = context.small_cell();
    CHECK(cell.pbc == (std::array<bool, 3>{true, true, true}));
    CHECK(norm(cell.cell[0]) < context.cutoff() && cell.cell[1][0] != 0 && cell.cell[2][1] != 0);
    CHECK(std::set<int32_t>(cell.types.begin(), cell.types.end()).size() == context.types().size());
    const size_t pairs = context.pairs_of(cell);
    CHECK(pairs > 8 * cell.size() && pairs < 40 * cell.size());
    CHECK(&context.small_cell() == &cell);
}

TEST("long systems have steps of which some just fit into the cutoff") {
    auto context = plain_context(2);
    const double step = context.stride();
    CHECK(step >= context.spacing() && step <= std::max(context.spacing(), 0.62 * context.cutoff()));
}
