#include <cmath>

#include "mtt/physics/spherical.hpp"
#include "mtt/physics/system.hpp"

#include "testing.hpp"

using namespace mtt;

TEST("harmonics of degree one are y z x") {
    const Vec3 direction = {0.48, -0.6, 0.64};
    const auto values = spherical_harmonics(1, direction);
    const double scale = values[1] / direction[2];
    CHECK_CLOSE(values[0], scale * direction[1], 1e-15);
    CHECK_CLOSE(values[2], scale * direction[0], 1e-15);
}

TEST("harmonics of degree two are those of the tables") {
    const Vec3 d = {0.48, -0.6, 0.64};
    const auto values = spherical_harmonics(2, d);
    const double pi = 3.14159265358979323846;
    const double scale = std::sqrt(15 / (4 * pi));
    CHECK_CLOSE(values[0], scale * d[0] * d[1], 1e-14);
    CHECK_CLOSE(values[1], scale * d[1] * d[2], 1e-14);
    CHECK_CLOSE(values[2], scale / std::sqrt(12.0) * (3 * d[2] * d[2] - 1), 1e-14);
    CHECK_CLOSE(values[3], scale * d[0] * d[2], 1e-14);
    CHECK_CLOSE(values[4], scale / 2 * (d[0] * d[0] - d[1] * d[1]), 1e-14);
}

TEST("rotated harmonics are those of the rotated direction") {
    std::mt19937_64 random(3);
    const auto rotation = random_rotation(random);
    const Vec3 direction = {0.8, 0.0, -0.6};
    for (const int l : {0, 1, 2, 5, 8}) {
        const auto before = spherical_harmonics(l, direction);
        const auto after = spherical_harmonics(l, direction * rotation);
        const auto matrix = spherical_rotation(l, rotation);
        for (size_t m = 0; m < after.size(); ++m) {
            double turned = 0.0;
            for (size_t n = 0; n < before.size(); ++n) {
                turned += matrix[m][n] * before[n];
            }
            CHECK_CLOSE(turned, after[m], 1e-10);
        }
    }
}
