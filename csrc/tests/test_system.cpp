#include <algorithm>
#include <cmath>

#include "mtt/physics/system.hpp"
#include "testing.hpp"

using namespace mtt;

TEST("frame of partly periodic systems has full rank and keeps periodic rows") {
    System slab;
    slab.cell = {{{3, 0, 0}, {1, 4, 0.5}, {0, 0, 0}}};
    slab.pbc = {true, true, false};
    const auto frame = full_frame(slab);
    CHECK(frame[0] == slab.cell[0]);
    CHECK(frame[1] == slab.cell[1]);
    CHECK_CLOSE(norm(frame[2]), 1.0, 1e-14);
    CHECK_CLOSE(dot(frame[2], frame[0]), 0.0, 1e-14);
    CHECK_CLOSE(dot(frame[2], frame[1]), 0.0, 1e-14);
    System molecule;
    CHECK(std::abs(determinant(full_frame(molecule))) > 0.99);
    System wire;
    wire.cell[1] = {0.3, 0.2, 5};
    wire.pbc = {false, true, false};
    CHECK(std::abs(determinant(full_frame(wire))) > 1.0);
}

TEST("inverse and heights of a triclinic cell") {
    const Mat3 cell = {{{4, 0, 0}, {1, 5, 0}, {0.5, -1, 6}}};
    const Mat3 product = cell * inverse(cell);
    for (int a = 0; a < 3; ++a) {
        for (int b = 0; b < 3; ++b) {
            CHECK_CLOSE(product[a][b], a == b ? 1.0 : 0.0, 1e-14);
        }
    }
    CHECK_CLOSE(heights(cell)[2], 6.0, 1e-14);
    CHECK_CLOSE(heights({{{0, 0, 6}, {1, 5, 0}, {4, 0, 0}}})[0], 6.0, 1e-14);
}

TEST("supercells repeat atoms and cell") {
    System cell;
    cell.types = {1, 2};
    cell.positions = {{0, 0, 0}, {1, 1, 1}};
    cell.cell = {{{2, 0, 0}, {0.5, 3, 0}, {0, 0, 4}}};
    cell.pbc = {true, true, true};
    const auto super = replicated(cell, {2, 1, 3});
    CHECK(super.size() == 12);
    CHECK(super.cell[0] == (Vec3{4, 0, 0}));
    CHECK(super.cell[2] == (Vec3{0, 0, 12}));
    CHECK(super.types[11] == 2);
    CHECK(super.positions[11] == (Vec3{3, 1, 9}));
}

TEST("wrapping moves atoms by lattice vectors, along periodic axes only") {
    System slab;
    slab.types = {1};
    slab.positions = {{-0.5, 9, 7}};
    slab.cell = {{{2, 0, 0}, {0, 4, 0}, {0, 0, 0}}};
    slab.pbc = {true, true, false};
    const auto inside = wrapped(slab).positions[0];
    CHECK_CLOSE(inside[0], 1.5, 1e-14);
    CHECK_CLOSE(inside[1], 1.0, 1e-14);
    CHECK_CLOSE(inside[2], 7.0, 1e-14);
}

TEST("rotations are proper and differ") {
    std::mt19937_64 random(1);
    const auto first = random_rotation(random);
    const auto second = random_rotation(random);
    CHECK_CLOSE(determinant(first), 1.0, 1e-12);
    CHECK_CLOSE((first * transpose(first))[0][1], 0.0, 1e-12);
    CHECK(std::abs(first[0][0] - second[0][0]) > 1e-3);
}

TEST("random numbers are the same everywhere") {
    std::mt19937_64 random(5);
    double sum = 0;
    double squares = 0;
    for (int k = 0; k < 20000; ++k) {
        const double x = normal(random);
        sum += x;
        squares += x * x;
    }
    CHECK_CLOSE(sum / 20000, 0.0, 0.03);
    CHECK_CLOSE(squares / 20000, 1.0, 0.05);
    std::mt19937_64 fixed(1);
    CHECK(fixed() == 2469588189546311528ULL);  // the standard fixes the engine, not the distributions
}
