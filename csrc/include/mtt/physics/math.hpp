// Three-vectors and 3x3 matrices, just enough for cells and positions. Rows of a cell are lattice vectors, and
// positions are row vectors, so a deformation acts from the right: x' = x M, cell' = cell M.
#pragma once

#include <array>
#include <cmath>

namespace mtt {

using Vec3 = std::array<double, 3>;
using Mat3 = std::array<Vec3, 3>;

inline constexpr Mat3 identity3 = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};

inline Vec3 operator+(const Vec3& a, const Vec3& b) {
    return {a[0] + b[0], a[1] + b[1], a[2] + b[2]};
}
inline Vec3 operator-(const Vec3& a, const Vec3& b) {
    return {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
}
inline Vec3 operator*(double s, const Vec3& a) { return {s * a[0], s * a[1], s * a[2]}; }
inline double dot(const Vec3& a, const Vec3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
inline double norm(const Vec3& a) { return std::sqrt(dot(a, a)); }
inline Vec3 cross(const Vec3& a, const Vec3& b) {
    return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

/// Row vector times matrix.
inline Vec3 operator*(const Vec3& v, const Mat3& m) {
    Vec3 out{};
    for (int k = 0; k < 3; ++k) {
        out[k] = v[0] * m[0][k] + v[1] * m[1][k] + v[2] * m[2][k];
    }
    return out;
}
inline Mat3 operator*(const Mat3& a, const Mat3& b) { return {a[0] * b, a[1] * b, a[2] * b}; }
inline Mat3 transpose(const Mat3& m) {
    return {{{m[0][0], m[1][0], m[2][0]}, {m[0][1], m[1][1], m[2][1]}, {m[0][2], m[1][2], m[2][2]}}};
}
inline double determinant(const Mat3& m) { return dot(m[0], cross(m[1], m[2])); }

/// Inverse; the caller guarantees that the matrix is not singular.
inline Mat3 inverse(const Mat3& m) {
    const double s = 1.0 / determinant(m);
    const Mat3 columns = {s * cross(m[1], m[2]), s * cross(m[2], m[0]), s * cross(m[0], m[1])};
    return transpose(columns);
}

}  // namespace mtt
