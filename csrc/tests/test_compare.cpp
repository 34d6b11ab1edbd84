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
