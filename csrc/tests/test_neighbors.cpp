#include <algorithm>
#include <cmath>
#include <tuple>

#include "mtt/physics/neighbors.hpp"
#include "testing.hpp"

using namespace mtt;

namespace {

using Key = std::tuple<int32_t, int32_t, int32_t, int32_t, int32_t>;

Key key(const Pair& pair) { return {pair.first, pair.second, pair.shift[0], pair.shift[1], pair.shift[2]}; }

std::vector<Key> keys(const PairList& pairs) {
    std::vector<Key> out;
    for (const auto& pair : pairs) {
        out.push_back(key(pair));
    }
    std::sort(out.begin(), out.end());
    return out;
}

/// All images within five cells, by distance.
PairList brute_force(const System& system, double cutoff) {
    PairList out;
    for (int a = -5; a <= 5; ++a) {
        for (int b = -5; b <= 5; ++b) {
            for (int c = -5; c <= 5; ++c) {
                if ((a != 0 && !system.pbc[0]) || (b != 0 && !system.pbc[1]) || (c != 0 && !system.pbc[2])) {
                    continue;
                }
                for (size_t i = 0; i < system.size(); ++i) {
                    for (size_t j = 0; j < system.size(); ++j) {
                        const Vec3 v = system.positions[j] - system.positions[i] +
                                       Vec3{double(a), double(b), double(c)} * system.cell;
                        if (norm(v) <= cutoff && !(i == j && a == 0 && b == 0 && c == 0)) {
                            out.push_back({int32_t(i), int32_t(j), {a, b, c}, v});
                        }
                    }
                }
            }
        }
    }
    return out;
}

System random_system(std::mt19937_64& random, size_t n, const std::array<bool, 3>& pbc) {
    System out;
    out.pbc = pbc;
    out.cell = {{{4.0, 0, 0}, {1.1, 3.5, 0}, {-0.7, 0.9, 3.8}}};
    for (size_t i = 0; i < n; ++i) {
        out.types.push_back(1);
        const Vec3 s = {2 * uniform(random) - 0.5, uniform(random), uniform(random)};
        out.positions.push_back(s * out.cell);
    }
    for (int k = 0; k < 3; ++k) {
        if (!pbc[k]) {
            out.cell[k] = {0, 0, 0};
        }
    }
    return out;
}

}  // namespace

TEST("neighbor lists equal brute force for every periodicity, also in cells smaller than the cutoff") {
    std::mt19937_64 random(3);
    for (int mask = 0; mask < 8; ++mask) {
        const auto system = random_system(random, 5, {(mask & 1) != 0, (mask & 2) != 0, (mask & 4) != 0});
        for (const double cutoff : {1.5, 3.0, 6.0}) {
            const auto pairs = build_pairs(system, {cutoff, true, true});
            const auto expected = brute_force(system, cutoff);
            CHECK(keys(pairs) == keys(expected));
            for (const auto& pair : pairs) {
                const Vec3 shift = {double(pair.shift[0]), double(pair.shift[1]), double(pair.shift[2])};
                const Vec3 v = system.positions[size_t(pair.second)] - system.positions[size_t(pair.first)] +
                               shift * system.cell;
                CHECK_CLOSE(norm(v - pair.vector), 0.0, 1e-12);
            }
        }
    }
}

TEST("half lists keep one direction of every pair, full lists both") {
    std::mt19937_64 random(4);
    const auto system = random_system(random, 6, {true, true, true});
    const auto full = build_pairs(system, {4.5, true, true});
    const auto half = build_pairs(system, {4.5, false, true});
    CHECK(half.size() * 2 == full.size());
    CHECK(half_of(full).size() == half.size());
    CHECK(keys(half_of(half_of(full))) == keys(half_of(full)));
}

TEST("half of a one-sided list does not lose its pairs") {
    const PairList one_sided = {{2, 1, {0, 0, 1}, {1, 0, 0}}, {0, 1, {0, 0, 0}, {0, 1, 0}}};
    const auto half = half_of(one_sided);
    CHECK(half.size() == 2);
    for (const auto& pair : half) {
        CHECK(pair.first < pair.second);
    }
    CHECK(half[1].shift == (std::array<int32_t, 3>{0, 0, -1}));
    CHECK(half[1].vector == (Vec3{-1, 0, 0}));
}

TEST("no atoms, no pairs") {
    System nothing;
    CHECK(build_pairs(nothing, {5.0, true, true}).empty());
    nothing.pbc = {true, true, true};
    nothing.cell = identity3;
    CHECK(build_pairs(nothing, {5.0, true, true}).empty());
}

TEST("a pair exactly at the cutoff is included, one beyond is not") {
    System dimer;
    dimer.types = {1, 1};
    dimer.positions = {{0, 0, 0}, {2.5, 0, 0}};
    CHECK(build_pairs(dimer, {2.5, true, true}).size() == 2);
    CHECK(build_pairs(dimer, {std::nextafter(2.5, 0.0), true, true}).empty());
    CHECK(build_pairs(dimer, {2.0, true, true}, 0.6).size() == 2);
}

TEST("shuffling keeps the pairs and changes their order") {
    std::mt19937_64 random(6);
    auto pairs = build_pairs(random_system(random, 6, {true, true, true}), {4.0, true, true});
    const auto before = pairs;
    shuffle(pairs, random);
    CHECK(keys(pairs) == keys(before));
    CHECK(key(pairs[0]) != key(before[0]) || key(pairs[1]) != key(before[1]));
}

TEST("sheets, and atoms that are far away, have neighbors or are refused") {
    System sheet;
    for (int a = 0; a < 400; ++a) {
        for (int b = 0; b < 400; ++b) {
            sheet.types.push_back(6);
            sheet.positions.push_back({3.3 * a, 3.3 * b, 0.1 * ((a + b) % 2)});
        }
    }
    const auto pairs = build_pairs(sheet, {3.5, true, true});
    CHECK(pairs.size() == 2 * 2 * 400 * 399);
    System far;
    far.types = {1, 1, 1};
    far.positions = {{0, 0, 0}, {1, 0, 0}, {1e6, 0, 0}};
    CHECK_THROWS(build_pairs(far, {3.5, true, true}), std::runtime_error, "too large");
    far.positions[2] = {std::nan(""), 0, 0};
    CHECK_THROWS(build_pairs(far, {3.5, true, true}), std::runtime_error, "not finite");
    System crowd;
    crowd.types.assign(100, 1);
    crowd.positions.assign(100, {0, 0, 0});
    crowd.pbc = {true, true, true};
    crowd.cell = {{{0.01, 0, 0}, {0, 0.01, 0}, {0, 0, 0.01}}};
    CHECK_THROWS(build_pairs(crowd, {5.0, true, true}), std::runtime_error, "too many pairs");
}
