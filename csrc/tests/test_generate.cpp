#include <set>

#include "mtt/physics/generate.hpp"
#include "testing.hpp"

using namespace mtt;

TEST("scattered atoms are inside, apart from each other, of all types, and the same again") {
    const Vec3 edges = {20, 5, 6};
    for (const bool periodic : {false, true}) {
        std::mt19937_64 random(4);
        const auto system = scattered({1, 6, 8}, 60, edges, {periodic, periodic, periodic}, 1.6, random);
        CHECK(system.size() == 60 && system.positions.size() == 60);
        CHECK(std::set<int32_t>(system.types.begin(), system.types.end()).size() == 3);
        CHECK(system.cell[1][1] == (periodic ? 5.0 : 0.0));
        double closest = 1e9;
        double farthest = 0.0;
        for (size_t i = 0; i < system.size(); ++i) {
            for (int k = 0; k < 3; ++k) {
                CHECK(system.positions[i][k] >= 0 && system.positions[i][k] < edges[k]);
            }
            farthest = std::max(farthest, system.positions[i][0]);
            for (size_t j = 0; j < i; ++j) {
                closest = std::min(closest, closest_distance(system, i, j));
            }
        }
        // 60 atoms leave 2.15 to each: 1.6 apart fits.
        CHECK(closest >= 1.6 * 0.9 && farthest > 17);
        std::mt19937_64 again(4);
        CHECK(scattered({1, 6, 8}, 60, edges, {periodic, periodic, periodic}, 1.6, again).positions == system.positions);
    }
}

TEST("distances are to the closest image where a system repeats") {
    System pair;
    pair.types = {1, 1};
    pair.positions = {{0.5, 1, 1}, {9.5, 1, 1}};
    CHECK_CLOSE(closest_distance(pair, 0, 1), 9.0, 1e-12);
    pair.pbc = {true, false, false};
    pair.cell = {{{10, 0, 0}, {0, 0, 0}, {0, 0, 0}}};
    CHECK_CLOSE(closest_distance(pair, 0, 1), 1.0, 1e-12);
}
