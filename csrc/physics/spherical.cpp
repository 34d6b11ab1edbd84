#include "mtt/physics/spherical.hpp"

#include <cmath>
#include <numbers>
#include <random>

#include "mtt/physics/system.hpp"

namespace mtt {

namespace {

using Matrix = std::vector<std::vector<double>>;

/// (l - m)! / (l + m)!
double factorials(int l, int m) {
    double out = 1.0;
    for (int k = l - m + 1; k <= l + m; ++k) {
        out /= k;
    }
    return out;
}

/// Solves `left` x = `right` for every column of `right`; both are overwritten. The matrix is positive definite.
Matrix solved(Matrix left, Matrix right) {
    const size_t n = left.size();
    for (size_t pivot = 0; pivot < n; ++pivot) {
        for (size_t row = 0; row < n; ++row) {
            const double factor = row == pivot ? 0.0 : left[row][pivot] / left[pivot][pivot];
            for (size_t k = 0; factor != 0.0 && k < n; ++k) {
                left[row][k] -= factor * left[pivot][k];
                right[row][k] -= factor * right[pivot][k];
            }
        }
    }
    for (size_t row = 0; row < n; ++row) {
        for (double& value : right[row]) {
            value /= left[row][row];
        }
    }
    return right;
}

}  // namespace

std::vector<double> spherical_harmonics(int l, const Vec3& direction) {
    const auto [x, y, z] = direction;
    std::vector<double> out(size_t(2 * l + 1));
    double real = 1.0;  // of (x + iy)^m
    double imaginary = 0.0;
    double first = 1.0;  // Legendre function of degree m and order m, over the sine to the power of m
    for (int m = 0; m <= l; ++m) {
        double before = 0.0;
        double legendre = first;
        for (int degree = m + 1; degree <= l; ++degree) {
            const double next = ((2 * degree - 1) * z * legendre - (degree + m - 1) * before) / (degree - m);
            before = legendre;
            legendre = next;
        }
        const double scale = std::sqrt((2 * l + 1) / (4 * std::numbers::pi) * factorials(l, m) * (m > 0 ? 2.0 : 1.0));
        out[size_t(l + m)] = scale * legendre * real;
        if (m > 0) {
            out[size_t(l - m)] = scale * legendre * imaginary;
        }
        const double turned = real * x - imaginary * y;
        imaginary = real * y + imaginary * x;
        real = turned;
        first *= 2 * m + 1;
    }
    return out;
}

std::vector<std::vector<double>> spherical_rotation(int l, const Mat3& rotation) {
    // The harmonics at many points and at the rotated points give the matrix by least squares.
    const size_t n = size_t(2 * l + 1);
    std::mt19937_64 random(7);
    Matrix products(n, std::vector<double>(n, 0.0));
    Matrix mixed = products;
    for (size_t point = 0; point < 6 * n; ++point) {
        Vec3 direction = {normal(random), normal(random), normal(random)};
        direction = (1.0 / norm(direction)) * direction;
        const auto before = spherical_harmonics(l, direction);
        const auto after = spherical_harmonics(l, direction * rotation);
        for (size_t a = 0; a < n; ++a) {
            for (size_t b = 0; b < n; ++b) {
                products[a][b] += before[a] * before[b];
                mixed[a][b] += before[a] * after[b];
            }
        }
    }
    const auto transposed = solved(products, mixed);
    Matrix out(n, std::vector<double>(n));
    for (size_t a = 0; a < n; ++a) {
        for (size_t b = 0; b < n; ++b) {
            out[a][b] = transposed[b][a];
        }
    }
    return out;
}

}  // namespace mtt
