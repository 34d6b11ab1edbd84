#include <cmath>

#include "mtt/model/model.hpp"
#include "plain_model.hpp"
#include "testing.hpp"

using namespace mtt;

namespace {

Answer per_atom(std::vector<std::vector<int32_t>> samples, std::vector<double> values) {
    Answer out;
    out.sample_names = {"system", "atom"};
    out.samples = std::move(samples);
    out.values = std::move(values);
    return out;
}

}  // namespace

TEST("rows of atoms are read by their labels, in any order, of the right system") {
    const auto answer = per_atom({{1, 0}, {0, 2}, {0, 0}, {0, 1}}, {9, 3, 1, 2});
    CHECK(rows_by_atom(answer, 0, 3) == (std::vector<double>{1, 2, 3}));
    CHECK(rows_by_atom(answer, 1, 1) == (std::vector<double>{9}));
}

TEST("rows that are missing, come twice or name other atoms are refused") {
    CHECK_THROWS(rows_by_atom(per_atom({{0, 0}}, {1}), 0, 2), EngineError, "no row for some");
    CHECK_THROWS(rows_by_atom(per_atom({{0, 0}, {0, 0}}, {1, 1}), 0, 1), EngineError, "came before");
    CHECK_THROWS(rows_by_atom(per_atom({{0, 5}}, {1}), 0, 1), EngineError, "atom 5");
    CHECK_THROWS(rows_by_atom(per_atom({{0, -1}}, {1}), 0, 1), EngineError, "atom -1");
    CHECK_THROWS(rows_by_atom(per_atom({{0, 0}}, {1, 2}), 0, 1), EngineError, "does not have 1 numbers per row");
    auto other = per_atom({{0, 0}}, {1});
    other.sample_names = {"structure", "atom"};
    CHECK_THROWS(rows_by_atom(other, 0, 1), EngineError, "not labeled");
}

TEST("an energy is exactly one number") {
    Answer answer;
    CHECK_THROWS(single_row(answer), EngineError, "0 numbers");
    answer.values = {1.5};
    CHECK(single_row(answer) == 1.5);
    answer.values = {1.5, 2.5};
    CHECK_THROWS(single_row(answer), EngineError, "2 numbers");
}

TEST("the test model is its own derivative, for one and two layers") {
    for (const int layers : {1, 2}) {
        testing::PlainModel model(layers, {});
        System system;
        system.types = {1, 6, 1};
        system.positions = {{0, 0, 0}, {1.1, 0.2, 0}, {0.3, 1.4, 0.5}};
        system.pbc = {true, true, true};
        system.cell = {{{4, 0, 0}, {1, 3.5, 0}, {0.4, -0.5, 3.8}}};
        const auto analytic = evaluate(model, system);
        const double h = 1e-5;
        for (int k = 0; k < 3; ++k) {
            auto plus = system;
            auto minus = system;
            plus.positions[1][k] += h;
            minus.positions[1][k] -= h;
            CHECK_CLOSE(-(energy(model, plus) - energy(model, minus)) / (2 * h), analytic.forces[1][k], 1e-7);
            Mat3 up = identity3;
            Mat3 down = identity3;
            up[0][k] += h;
            down[0][k] -= h;
            CHECK_CLOSE(-(energy(model, deformed(system, up)) - energy(model, deformed(system, down))) / (2 * h),
                        analytic.virial[0][k], 1e-6);
        }
    }
}
