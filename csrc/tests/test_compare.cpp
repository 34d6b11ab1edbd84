#include <algorithm>
#include <cmath>
#include <limits>

#include "mtt/physics/tolerances.hpp"
#include "mtt/runner/check.hpp"
#include "testing.hpp"

using namespace mtt;

namespace {

Capabilities capabilities(const std::string& dtype) {
    Capabilities out;
    out.dtype = dtype;
    return out;
}

}  // namespace

TEST("the worst ratio wins, not the worst difference") {
    Comparison comparison;
    CHECK(comparison.empty());
    comparison.add(1.0, 10.0, "large");
    comparison.add(-0.5, 1.0, "small");
    CHECK(comparison.passed());
    CHECK(comparison.where() == "small");
    CHECK(comparison.measured() == 0.5);
    comparison.add(1.01, 1.0, "beyond");
    CHECK(!comparison.passed());
}

TEST("NaN and infinity fail, zero passes a tolerance of zero") {
    for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
        Comparison comparison;
        comparison.add(bad, 1.0, "bad");
        comparison.add(0.1, 1.0, "good");
        CHECK(!comparison.passed());
        CHECK(comparison.where() == "bad");
    }
    Comparison exact;
    exact.add(0.0, 0.0, "equal");
    CHECK(exact.passed());
    exact.add(1e-300, 0.0, "not equal");
    CHECK(!exact.passed());
}

TEST("NaN in forces or virials is found wherever it is") {
    const Budget limit{1, 1, 1, 1};
    for (size_t bad = 0; bad < 3; ++bad) {
        Comparison comparison;
        std::vector<Vec3> a(3, Vec3{});
        std::vector<Vec3> b = a;
        a[bad][1] = std::nan("");
        comparison.forces(a, b, limit, "x");
        CHECK(!comparison.passed());
        CHECK(comparison.where() == "force y on atom " + std::to_string(bad) + " of x");
    }
    Comparison comparison;
    Mat3 virial{};
    virial[2][1] = std::nan("");
    comparison.virials(virial, Mat3{}, limit, "x");
    CHECK(comparison.where() == "virial zy of x");
    CHECK(std::isnan(largest(std::vector<Vec3>{{0, std::nan(""), 5}})));
}

TEST("different numbers of forces fail") {
    Comparison comparison;
    comparison.forces({Vec3{}}, {Vec3{}, Vec3{}}, {1, 1, 1, 1}, "x");
    CHECK(!comparison.passed());
}

TEST("ulp of both precisions") {
    CHECK(capabilities("float64").ulp(1.0) == 0x1p-52);
    CHECK(capabilities("float32").ulp(1.0) == 0x1p-23);
    CHECK(capabilities("float32").ulp(-2.0e6) == 0.125);
    CHECK(capabilities("float64").ulp(0.0) > 0.0);
}

TEST("a large energy offset only adds its rounding to the budget") {
    System system;
    system.types.assign(16, 1);
    Properties reference;
    reference.energy = -1.6e6;
    reference.energies.assign(16, -1e5);
    reference.forces.assign(16, Vec3{1, 0, 0});
    const auto single = budget(Agreement::parity, capabilities("float32"), system, reference);
    CHECK_CLOSE(single.energy, 0.55 * 0.125 + 4 * 2e-4, 1e-9);
    CHECK_CLOSE(single.atomic_energy, 0.55 * 0.0078125 + 2e-4, 1e-9);
    const auto dual = budget(Agreement::parity, capabilities("float64"), system, reference);
    CHECK(dual.energy < 1e-8);
    CHECK_CLOSE(dual.force, 1e-9, 1e-15);
}

TEST("budgets follow the largest force and the units") {
    System system;
    system.types.assign(4, 1);
    Properties reference;
    reference.forces.assign(4, Vec3{0, -50, 0});
    auto model = capabilities("float64");
    CHECK_CLOSE(budget(Agreement::parity, model, system, reference).force, 5e-8, 1e-14);
    reference.forces.assign(4, Vec3{});
    model.electronvolt = 23.06;
    model.angstrom = 0.1;
    CHECK_CLOSE(budget(Agreement::parity, model, system, reference).force, 230.6e-9, 1e-14);
    reference.forces[0][0] = std::nan("");
    CHECK(std::isfinite(budget(Agreement::parity, model, system, reference).force));
}

TEST("every kind of comparison has a reason and float32 is the looser one") {
    for (const auto& row : tolerance_table()) {
        CHECK(std::string(row.reason).size() > 20);
        CHECK(row.float64 < row.float32);
    }
}

TEST("judging: nothing compared is a skip, a failure says the consequence and the place") {
    Comparison comparison;
    CHECK(judged("name", comparison, "eV", "bad").status == Status::skip);
    comparison.add(3.0, 1.0, "energy of water");
    const auto result = judged("name", comparison, "eV", "bad things happen");
    CHECK(result.status == Status::fail);
    CHECK(result.message == "bad things happen; worst: energy of water");
    CHECK(result.measured == 3.0 && result.tolerance == 1.0);
}

namespace {

System named(const std::string& name, std::array<bool, 3> pbc, bool tilted = false) {
    System out;
    out.name = name;
    out.pbc = pbc;
    for (int k = 0; k < 3; ++k) {
        out.cell[k][k] = pbc[k] ? 5.0 : 0.0;
    }
    out.cell[1][0] = tilted ? 2.0 : 0.0;
    return out;
}

/// Circumstances of failures in the systems at `bad`.
std::string circumstances(const std::vector<System>& systems, const std::vector<size_t>& bad) {
    Comparison comparison;
    for (size_t k = 0; k < systems.size(); ++k) {
        comparison.in(systems[k]);
        comparison.add(std::find(bad.begin(), bad.end(), k) == bad.end() ? 0.5 : 2.0, 1.0, systems[k].name);
    }
    return comparison.circumstances();
}

}  // namespace

TEST("what fails in some systems only says in which") {
    const std::vector<System> systems = {
        named("molecule", {false, false, false}), named("slab", {true, true, false}), named("other slab", {true, false, true}),
        named("box", {true, true, true}), named("tilted box", {true, true, true}, true),
    };
    CHECK(circumstances(systems, {}).empty());
    CHECK(circumstances(systems, {0, 1, 2, 3, 4}).empty());
    CHECK(circumstances(systems, {1, 2}) == "slabs (pbc TFT, TTF)");
    CHECK(circumstances(systems, {1}) == "slabs (pbc TTF)");
    CHECK(circumstances(systems, {0, 1}) == "molecules (pbc FFF) and slabs (pbc TTF)");
    CHECK(circumstances(systems, {4}) == "tilted cells");
    CHECK(circumstances(systems, {3}).empty());  // another box passes
}

TEST("a small failure after a large one is not forgotten") {
    const Budget limit{1, 1, 1, 1};
    Comparison comparison;
    for (const auto& [name, size] : {std::pair("a", 100.0), std::pair("b", 2.0), std::pair("c", 0.5)}) {
        comparison.in(named(name, {false, false, false}));
        comparison.forces({Vec3{size, 0, 0}}, {Vec3{}}, limit, name);
    }
    CHECK(comparison.failing() == std::vector<std::string>({"a", "b"}));
    CHECK(judged("forces", comparison, "", "wrong").message == "wrong; only for a, b, others pass; worst: force x on atom 0 of a");
}

TEST("an exception in one system leaves the others their numbers") {
    Comparison comparison;
    attempt(comparison, named("box", {true, true, true}), [&] { comparison.add(0.5, 1.0, "box"); });
    attempt(comparison, named("slab", {true, true, false}), [&] { throw std::runtime_error("no third vector"); });
    const auto result = judged("cells", comparison, "", "wrong");
    CHECK(result.status == Status::fail && result.severity == Severity::stops);
    CHECK(result.message == "the model fails: no third vector; only for slabs (pbc TTF), others pass");
    CHECK(result.unless == "slabs (pbc TTF)" && result.error == "no third vector");
}
