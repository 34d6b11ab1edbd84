#include "mtt/physics/system.hpp"

#include <numbers>

namespace mtt {

namespace {

constexpr const char* tilted = ", tilted";

}  // namespace

std::string kind_of(const System& system) {
    std::string out = "pbc ";
    for (const bool flag : system.pbc) {
        out += flag ? 'T' : 'F';
    }
    for (int a = 0; a < 3; ++a) {
        for (int b = 0; b < a; ++b) {
            const auto& u = system.cell[a];
            const auto& v = system.cell[b];
            if (std::abs(dot(u, v)) > 0.01 * norm(u) * norm(v)) {
                return out + tilted;
            }
        }
    }
    return out;
}

Mat3 full_frame(const System& system) {
    Mat3 frame = system.cell;
    // Non-periodic rows: take Cartesian axes and keep what is orthogonal to the rows that are already there.
    for (int axis = 0; axis < 3; ++axis) {
        if (system.pbc[axis]) {
            continue;
        }
        Vec3 best{};
        double best_length = -1.0;
        for (int k = 0; k < 3; ++k) {
            Vec3 candidate = identity3[(axis + k) % 3];
            // Two passes of Gram-Schmidt over orthonormalized copies of the other non-zero rows.
            std::vector<Vec3> basis;
            for (int other = 0; other < 3; ++other) {
                if (other == axis || (!system.pbc[other] && other > axis)) {
                    continue;
                }
                Vec3 row = frame[other];
                for (const auto& b : basis) {
                    row = row - dot(row, b) * b;
                }
                if (norm(row) > 0) {
                    basis.push_back((1.0 / norm(row)) * row);
                }
            }
            for (const auto& b : basis) {
                candidate = candidate - dot(candidate, b) * b;
            }
            if (norm(candidate) > best_length + 1e-9) {
                best = candidate;
                best_length = norm(candidate);
            }
        }
        frame[axis] = (1.0 / best_length) * best;
    }
    return frame;
}

Vec3 heights(const Mat3& frame) {
    const double volume = std::abs(determinant(frame));
    Vec3 out{};
    for (int k = 0; k < 3; ++k) {
        out[k] = volume / norm(cross(frame[(k + 1) % 3], frame[(k + 2) % 3]));
    }
    return out;
}

System deformed(const System& system, const Mat3& deformation) {
    System out = system;
    for (auto& x : out.positions) {
        x = x * deformation;
    }
    out.cell = system.cell * deformation;
    return out;
}

System translated(const System& system, const Vec3& shift) {
    System out = system;
    for (auto& x : out.positions) {
        x = x + shift;
    }
    return out;
}

System permuted(const System& system, const std::vector<size_t>& order) {
    System out = system;
    for (size_t i = 0; i < order.size(); ++i) {
        out.types[i] = system.types[order[i]];
        out.positions[i] = system.positions[order[i]];
    }
    return out;
}

System replicated(const System& system, const std::array<int, 3>& repeats) {
    System out = system;
    out.types.clear();
    out.positions.clear();
    for (int a = 0; a < repeats[0]; ++a) {
        for (int b = 0; b < repeats[1]; ++b) {
            for (int c = 0; c < repeats[2]; ++c) {
                const Vec3 offset = Vec3{double(a), double(b), double(c)} * system.cell;
                for (size_t i = 0; i < system.size(); ++i) {
                    out.types.push_back(system.types[i]);
                    out.positions.push_back(system.positions[i] + offset);
                }
            }
        }
    }
    for (int k = 0; k < 3; ++k) {
        out.cell[k] = double(repeats[k]) * system.cell[k];
    }
    return out;
}

System rattled(const System& system, double amplitude, std::mt19937_64& random) {
    System out = system;
    for (auto& x : out.positions) {
        for (auto& component : x) {
            component += amplitude * normal(random);
        }
    }
    return out;
}

System wrapped(const System& system) {
    System out = system;
    const Mat3 frame = full_frame(system);
    const Mat3 to_fractional = inverse(frame);
    for (auto& x : out.positions) {
        const Vec3 s = x * to_fractional;
        for (int k = 0; k < 3; ++k) {
            if (system.pbc[k]) {
                x = x - std::floor(s[k]) * frame[k];
            }
        }
    }
    return out;
}

double uniform(std::mt19937_64& random) { return double(random() >> 11) * 0x1p-53; }

size_t uniform_index(std::mt19937_64& random, size_t n) { return size_t(uniform(random) * double(n)); }

double normal(std::mt19937_64& random) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform(random)));
    return radius * std::cos(2.0 * std::numbers::pi * uniform(random));
}

Mat3 random_rotation(std::mt19937_64& random) {
    // A normalized Gaussian quaternion is uniform on the rotation group.
    std::array<double, 4> q{};
    double length = 0.0;
    for (auto& component : q) {
        component = normal(random);
        length += component * component;
    }
    length = std::sqrt(length);
    const double w = q[0] / length;
    const double x = q[1] / length;
    const double y = q[2] / length;
    const double z = q[3] / length;
    return {{{1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)},
             {2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)},
             {2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)}}};
}

}  // namespace mtt
