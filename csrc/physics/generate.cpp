#include "mtt/physics/generate.hpp"

#include <algorithm>
#include <cmath>

namespace mtt {

namespace {

// Covalent radii in picometers for atomic numbers 1 to 96 (Cordero et al. 2008).
constexpr int radii[] = {
    31,  28,  128, 96,  84,  76,  71,  66,  57,  58,  166, 141, 121, 111, 107, 105, 102, 106, 203, 176,
    170, 160, 153, 139, 139, 132, 126, 124, 132, 122, 122, 120, 119, 120, 120, 116, 220, 195, 190, 175,
    164, 154, 147, 146, 142, 139, 145, 144, 142, 139, 139, 138, 139, 140, 244, 215, 207, 204, 203, 201,
    199, 198, 198, 196, 194, 192, 192, 189, 190, 187, 187, 175, 170, 162, 151, 144, 141, 136, 136, 132,
    145, 146, 148, 140, 150, 150, 260, 221, 215, 206, 200, 196, 190, 187, 180, 169,
};

}  // namespace

double typical_distance(const std::vector<int32_t>& types) {
    double largest = 0.0;
    for (const int32_t type : types) {
        const bool known = type >= 1 && size_t(type) <= std::size(radii);
        largest = std::max(largest, known ? 0.02 * radii[type - 1] : 1.5);
    }
    return largest;
}

System cluster(
    const std::vector<int32_t>& types, const std::array<int, 3>& counts, double spacing, std::mt19937_64& random
) {
    System out;
    out.name = "generated cluster";
    size_t next = 0;
    for (int a = 0; a < counts[0]; ++a) {
        for (int b = 0; b < counts[1]; ++b) {
            for (int c = 0; c < counts[2]; ++c) {
                // The first atoms run through all types, the others are drawn.
                out.types.push_back(next < types.size() ? types[next] : types[uniform_index(random, types.size())]);
                ++next;
                Vec3 x = {a * spacing, b * spacing, c * spacing};
                for (auto& component : x) {
                    component += 0.2 * spacing * (uniform(random) - 0.5);
                }
                out.positions.push_back(x);
            }
        }
    }
    return out;
}

System crystal(
    const std::vector<int32_t>& types, const std::array<int, 3>& counts, double spacing, double tilt,
    std::mt19937_64& random
) {
    System out = cluster(types, counts, spacing, random);
    out.name = tilt == 0.0 ? "generated crystal" : "generated triclinic crystal";
    out.pbc = {true, true, true};
    const double a = counts[0] * spacing;
    const double b = counts[1] * spacing;
    const double c = counts[2] * spacing;
    out.cell = {{{a, 0, 0}, {tilt * b, b, 0}, {0.7 * tilt * c, -0.5 * tilt * c, c}}};
    // Shear the atoms with the cell, so that distances stay sensible.
    const Mat3 straight = {{{1.0 / a, 0, 0}, {0, 1.0 / b, 0}, {0, 0, 1.0 / c}}};
    for (auto& x : out.positions) {
        x = x * straight * out.cell;
    }
    return out;
}

double closest_distance(const System& system, size_t i, size_t j) {
    Vec3 away = system.positions[j] - system.positions[i];
    for (int k = 0; k < 3; ++k) {
        if (system.pbc[k]) {
            away[k] -= system.cell[k][k] * std::round(away[k] / system.cell[k][k]);
        }
    }
    return norm(away);
}

System scattered(const std::vector<int32_t>& types, size_t count, const Vec3& edges, const std::array<bool, 3>& pbc,
                 double apart, std::mt19937_64& random) {
    constexpr int most_trials = 200;
    System out;
    out.name = "scattered atoms";
    out.pbc = pbc;
    for (int k = 0; k < 3; ++k) {
        out.cell[k][k] = pbc[k] ? edges[k] : 0.0;
    }
    const double volume = edges[0] * edges[1] * edges[2];
    // Spheres of this diameter fill a quarter of the box, which random places can reach.
    double closest = std::min(apart, 0.8 * std::cbrt(volume / double(std::max<size_t>(1, count))));
    while (out.size() < count) {
        // The first atoms run through all types, the others are drawn.
        const size_t next = out.size();
        out.types.push_back(next < types.size() ? types[next] : types[uniform_index(random, types.size())]);
        out.positions.emplace_back();
        int trials = 0;
        for (bool free = false; !free; ++trials) {
            if (trials == most_trials) {
                trials = 0;
                closest *= 0.95;
            }
            for (int k = 0; k < 3; ++k) {
                out.positions[next][k] = edges[k] * uniform(random);
            }
            free = true;
            for (size_t other = 0; other < next && free; ++other) {
                free = closest_distance(out, other, next) >= closest;
            }
        }
    }
    return out;
}

System single_atom(int32_t type) {
    System out;
    out.name = "isolated atom";
    out.types = {type};
    out.positions = {{0.3, -0.2, 0.1}};
    return out;
}

}  // namespace mtt
