#include "mtt/physics/neighbors.hpp"

#include <vesin.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <stdexcept>
#include <tuple>
#include <utility>

namespace mtt {

namespace {

/// Boxes of the search, above which vesin makes fewer by one factor for all axes, and none along an axis that has few.
constexpr double most_boxes = 1e5;
constexpr double most_boxes_along_axis = 5000;
constexpr double most_pairs = 4e8;

/// Extent of the atoms along each axis; of the cell where it repeats.
Vec3 extents(const System& system) {
    const auto frame_heights = heights(full_frame(system));
    Vec3 out{};
    for (int d = 0; d < 3; ++d) {
        double low = system.positions[0][d];
        double high = low;
        for (const auto& position : system.positions) {
            if (!std::isfinite(position[d])) {
                throw std::runtime_error("a position is not finite");
            }
            low = std::min(low, position[d]);
            high = std::max(high, position[d]);
        }
        out[d] = system.pbc[d] ? frame_heights[d] : high - low;
    }
    return out;
}

/// The cutoff, or a larger radius where vesin would divide by zero.
/// @throws std::runtime_error for systems that would take all time or memory
double search_radius(const System& system, double cutoff) {
    const auto extent = extents(system);
    double volume = 1.0;
    for (int d = 0; d < 3; ++d) {
        if (!(extent[d] / cutoff < most_boxes_along_axis) || (system.pbc[d] && extent[d] < 1e-6 * cutoff)) {
            throw std::runtime_error("the system is too large, or its cell too small, for a cutoff of " +
                                     std::to_string(cutoff));
        }
        volume *= system.pbc[d] ? extent[d] : extent[d] + 2 * cutoff;
    }
    const double n = double(system.size());
    if (system.periodic() && n * n * 4.19 * cutoff * cutoff * cutoff / volume > most_pairs) {
        throw std::runtime_error("the system has too many pairs within " + std::to_string(cutoff));
    }
    for (double radius = cutoff;; radius *= 1.2) {
        double boxes = 1.0;
        double fewest = most_boxes;
        for (int d = 0; d < 3; ++d) {
            const double along = std::max(1.0, (extent[d] + (system.pbc[d] ? 0.0 : cutoff)) / radius);
            boxes *= along;
            fewest = std::min(fewest, along);
        }
        if (boxes <= most_boxes / 2 || fewest * std::cbrt(most_boxes / boxes) >= 2) {
            return radius;
        }
    }
}

}  // namespace

PairList build_pairs(const System& system, const NeighborRequest& request, double skin) {
    PairList out;
    if (system.size() == 0 || request.cutoff <= 0) {
        return out;  // vesin refuses an empty set of points
    }
    const double cutoff = request.cutoff + skin;
    VesinOptions options{};
    // vesin keeps r < cutoff; engines keep r <= cutoff. Ask for one step more and filter below.
    options.cutoff = std::nextafter(search_radius(system, cutoff), std::numeric_limits<double>::max());
    options.full = request.full;
    options.sorted = true;
    options.n_threads = 1;
    options.return_shifts = true;
    options.return_distances = true;
    options.return_vectors = true;

    double box[3][3];
    for (int a = 0; a < 3; ++a) {
        for (int b = 0; b < 3; ++b) {
            box[a][b] = system.cell[a][b];
        }
    }
    const bool periodic[3] = {system.pbc[0], system.pbc[1], system.pbc[2]};
    const auto* points = reinterpret_cast<const double(*)[3]>(system.positions.data());

    VesinNeighborList list;
    const char* message = nullptr;
    const int status =
        vesin_neighbors(points, system.size(), box, periodic, {VesinCPU, 0}, options, &list, &message);
    if (status != 0) {
        std::string text = message == nullptr ? "unknown error" : message;
        vesin_free(&list);
        throw std::runtime_error("vesin could not build a neighbor list: " + text);
    }
    out.reserve(list.length);
    for (size_t k = 0; k < list.length; ++k) {
        if (list.distances[k] > cutoff) {
            continue;
        }
        Pair pair;
        pair.first = int32_t(list.pairs[k][0]);
        pair.second = int32_t(list.pairs[k][1]);
        for (int d = 0; d < 3; ++d) {
            pair.shift[d] = list.shifts[k][d];
            pair.vector[d] = list.vectors[k][d];
        }
        out.push_back(pair);
    }
    vesin_free(&list);
    return out;
}

void shuffle(PairList& pairs, std::mt19937_64& random) {
    for (size_t k = pairs.size(); k > 1; --k) {
        std::swap(pairs[k - 1], pairs[uniform_index(random, k)]);
    }
}

PairList half_of(const PairList& full) {
    using Key = std::tuple<int32_t, int32_t, std::array<int32_t, 3>>;
    std::map<Key, Pair> kept;
    for (const auto& pair : full) {
        const std::array<int32_t, 3> opposite = {-pair.shift[0], -pair.shift[1], -pair.shift[2]};
        const Key forward{pair.first, pair.second, pair.shift};
        const Key backward{pair.second, pair.first, opposite};
        // The smaller key names the pair, so that a list that holds only one direction keeps the pair too.
        if (forward <= backward) {
            kept.emplace(forward, pair);
        } else {
            kept.emplace(backward, Pair{pair.second, pair.first, opposite, -1.0 * pair.vector});
        }
    }
    PairList out;
    out.reserve(kept.size());
    for (const auto& [key, pair] : kept) {
        out.push_back(pair);
    }
    return out;
}

}  // namespace mtt
