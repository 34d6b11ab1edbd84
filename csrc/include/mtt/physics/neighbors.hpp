// Neighbor lists as MD engines build them: strictly r <= cutoff, vectors x_j - x_i + S cell in float64.
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "mtt/physics/system.hpp"

namespace mtt {

/// One neighbor list that a model asks for. `cutoff` is in the length unit of the model.
struct NeighborRequest {
    double cutoff = 0.0;
    bool full = true;
    bool strict = true;
};

struct Pair {
    int32_t first = 0;
    int32_t second = 0;
    std::array<int32_t, 3> shift{0, 0, 0};
    Vec3 vector{};
};
using PairList = std::vector<Pair>;

/// All pairs within the cutoff, by vesin. Any number of atoms, including none.
/// @param skin added to the cutoff, for lists of which a model said that it does not need them strict
/// @throws std::runtime_error with vesin's own message
PairList build_pairs(const System& system, const NeighborRequest& request, double skin = 0.0);

/// Fisher-Yates shuffle: engines give pairs in an order of their own.
void shuffle(PairList& pairs, std::mt19937_64& random);

/// Keeps one of (i, j, S) and (j, i, -S) for each pair.
PairList half_of(const PairList& full);

}  // namespace mtt
