#include <algorithm>
#include <cmath>
#include <limits>

#include "mtt/physics/domains.hpp"
#include "mtt/physics/generate.hpp"
#include "plain_model.hpp"
#include "testing.hpp"

using namespace mtt;
using testing::Breakage;
using testing::PlainModel;

namespace {

const std::vector<std::array<int, 3>> grids = {{1, 1, 1}, {2, 1, 1}, {4, 1, 1}, {2, 2, 1}, {2, 2, 2}, {8, 1, 1}};

System rod(double tilt) {
    std::mt19937_64 random(9);
    auto system = crystal({1, 6}, {16, 2, 2}, 1.7, tilt, random);
    return system;
}

void expect_whole(Model& model, const System& system, const std::array<int, 3>& grid) {
    const auto reference = evaluate(model, system);
    const auto domains = decompose(system, grid, model.capabilities().interaction_range, model.requests(), 1);
    CHECK(domains.size() == size_t(grid[0] * grid[1] * grid[2]));
    std::vector<int> owners(system.size(), 0);
    for (const auto& domain : domains) {
        CHECK(domain.unseen + domain.origin.size() == system.size());
        auto unique = domain.origin;
        std::sort(unique.begin(), unique.end());
        CHECK(std::adjacent_find(unique.begin(), unique.end()) == unique.end());
        for (size_t i = 0; i < domain.n_local; ++i) {
            ++owners[domain.origin[i]];
        }
    }
    CHECK(std::all_of(owners.begin(), owners.end(), [](int n) { return n == 1; }));
    const auto parts = evaluate_domains(model, domains, system.size());
    CHECK_CLOSE(parts.energy, reference.energy, 1e-9);
    for (size_t i = 0; i < system.size(); ++i) {
        CHECK_CLOSE(norm(parts.forces[i] - reference.forces[i]), 0.0, 1e-10);
    }
    for (int a = 0; a < 3; ++a) {
        CHECK_CLOSE(norm(parts.virial[a] - reference.virial[a]), 0.0, 1e-8);
    }
}

}  // namespace

TEST("domains add up to the whole: periodic, triclinic, both kinds of lists") {
    for (const bool full : {true, false}) {
        for (const int layers : {1, 2}) {
            PlainModel model(layers, {}, full);
            for (const double tilt : {0.0, 0.3, 2.5}) {
                for (const auto& grid : grids) {
                    expect_whole(model, rod(tilt), grid);
                }
            }
        }
    }
}

TEST("domains add up to the whole: nowhere or partly periodic, atoms outside of the cell") {
    std::mt19937_64 random(10);
    PlainModel model(2, {});
    for (const auto& grid : grids) {
        expect_whole(model, cluster({1, 6}, {14, 2, 1}, 1.6, random), grid);
        auto slab = rod(0.2);
        slab.pbc[2] = false;
        slab.cell[2] = {0, 0, 0};
        expect_whole(model, slab, grid);
        auto moved = rod(0.1);
        for (size_t i = 0; i < moved.size(); i += 3) {
            moved.positions[i] = moved.positions[i] - 2.0 * moved.cell[0] + moved.cell[1];
        }
        expect_whole(model, moved, grid);
    }
}

TEST("an atom exactly on a border belongs to one domain") {
    System line;
    line.pbc = {true, true, true};
    line.cell = {{{8, 0, 0}, {0, 4, 0}, {0, 0, 4}}};
    for (int k = 0; k < 8; ++k) {
        line.types.push_back(1);
        line.positions.push_back({double(k), 4.0 - 1e-16, -1e-17});
    }
    PlainModel model(1, {});
    for (const auto& grid : grids) {
        expect_whole(model, line, grid);
    }
}

TEST("a range that is too small shows") {
    Breakage breakage;
    breakage.range_factor = 0.5;
    PlainModel model(2, breakage);
    const auto system = rod(0.0);
    const auto reference = evaluate(model, system);
    const auto domains = decompose(system, {2, 1, 1}, 3.0, model.requests(), 1);
    CHECK(std::abs(evaluate_domains(model, domains, system.size()).energy - reference.energy) > 1e-3);
}

TEST("domains without atoms are made, with and without ghosts") {
    System half;
    half.pbc = {true, true, true};
    half.cell = {{{40, 0, 0}, {0, 6, 0}, {0, 0, 6}}};
    half.types = {1, 6};
    half.positions = {{6, 1, 1}, {7, 1, 1}};
    PlainModel model(1, {});
    const auto domains = decompose(half, {4, 1, 1}, 3.0, model.requests(), 1);
    CHECK(domains[0].n_local == 2);
    CHECK(domains[1].n_local == 0 && domains[1].origin.size() == 1);
    CHECK(domains[2].n_local == 0 && domains[2].origin.empty());
    expect_whole(model, half, {4, 1, 1});
    Breakage breakage;
    breakage.no_row_without_atoms = true;
    PlainModel broken(1, breakage);
    CHECK_THROWS(evaluate_domains(broken, domains, 2), EngineError, "0 rows instead of one row of zero");
}

TEST("an infinite range is refused") {
    PlainModel model(1, {});
    CHECK_THROWS(
        decompose(rod(0), {2, 1, 1}, std::numeric_limits<double>::infinity(), model.requests(), 1),
        std::invalid_argument, "infinite"
    );
}
