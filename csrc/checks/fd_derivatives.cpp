// FD: forces and virial against finite differences of the energy, with Richardson extrapolation.
#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>

#include "mtt/checks/scattered.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

constexpr size_t largest_system = 32;
constexpr size_t components_per_system = 8;
constexpr size_t directions_per_system = 2;

/// Energy differences, atom by atom where the model allows it: that keeps large offsets from drowning them.
class Differences {
public:
    Differences(Model& model, const System& system): model_(model), system_(system) {
        if (model.capabilities().per_atom()) {
            // Each difference of atomic energies carries two roundings; sums of them add up like a random walk.
            double squares = 0.0;
            for (const double e : atomic_energies(model, system)) {
                squares += std::pow(model.capabilities().ulp(e), 2);
            }
            rounding_ = std::sqrt(squares);
        } else {
            rounding_ = std::sqrt(double(system.size())) * model.capabilities().ulp(energy(model, system));
        }
        // What the network computes before offsets are added is rounded too, at the scale of 10 eV per atom.
        rounding_ += std::sqrt(double(system.size())) * model.capabilities().ulp(10 * model.capabilities().electronvolt);
    }

    /// dE/dt at t = 0 along `path`, from steps h and h/2.
    [[nodiscard]] double derivative(const std::function<System(double)>& path, double h) const {
        const double wide = (difference(path, h)) / (2 * h);
        const double narrow = (difference(path, 0.5 * h)) / h;
        return (4 * narrow - wide) / 3;
    }
    /// The same from one step, without extrapolation.
    [[nodiscard]] double plain_derivative(const std::function<System(double)>& path, double h) const {
        return difference(path, h) / (2 * h);
    }
    /// Three standard deviations of the rounding of `derivative`.
    [[nodiscard]] double noise(double h) const { return 3 * 1.4 * rounding_ / h; }

    [[nodiscard]] const Capabilities& capabilities() const { return model_.capabilities(); }

private:
    [[nodiscard]] double difference(const std::function<System(double)>& path, double h) const {
        const auto plus = path(h);
        const auto minus = path(-h);
        if (!model_.capabilities().per_atom()) {
            return energy(model_, plus) - energy(model_, minus);
        }
        const auto up = atomic_energies(model_, plus);
        const auto down = atomic_energies(model_, minus);
        double sum = 0.0;
        for (size_t i = 0; i < up.size(); ++i) {
            sum += up[i] - down[i];
        }
        return sum;
    }

    Model& model_;
    const System& system_;
    double rounding_ = 0.0;
};

struct Setting {
    std::vector<double> steps;
    Agreement agreement = Agreement::difference;
};

/// Steps in the length unit of the model. The second one decides when a pair crosses a cutoff within the first: such an
/// error shrinks with the step, a wrong force does not.
std::vector<double> steps(const Capabilities& capabilities) {
    const double unit = capabilities.angstrom;
    return capabilities.dtype == "float32" ? std::vector<double>{0.03 * unit, 0.01 * unit}
                                           : std::vector<double>{1e-3 * unit, 2e-4 * unit};
}

/// A step so short that what extrapolation removes is less than the tolerance of float64, and rounding mostly as well.
double short_step(const Capabilities& capabilities) { return 2e-5 * capabilities.angstrom; }

/// Compares with one short step if that agrees, which takes half of the calls; else with the step that agrees best.
void compare(Comparison& comparison, const Differences& differences, const std::function<System(double)>& path,
             double expected, double tolerance, const std::vector<double>& steps, double step_scale,
             const std::string& where) {
    const auto& capabilities = differences.capabilities();
    const double close = short_step(capabilities) * step_scale;
    // Rounding is given nothing here.
    if (capabilities.dtype == "float64" && differences.noise(close) < 0.1 * tolerance) {
        const double error = differences.plain_derivative(path, close) - expected;
        if (std::abs(error) <= 0.5 * tolerance) {
            comparison.add(error, tolerance, where);
            return;
        }
    }
    double best_ratio = std::numeric_limits<double>::infinity();
    double best_error = std::nan("");
    double best_tolerance = tolerance;
    for (const double step : steps) {
        const double h = step * step_scale;
        const double error = differences.derivative(path, h) - expected;
        const double allowed = tolerance + differences.noise(h);
        if (std::abs(error) / allowed < best_ratio) {
            best_ratio = std::abs(error) / allowed;
            best_error = error;
            best_tolerance = allowed;
        }
        if (best_ratio <= 1.0) {
            break;
        }
    }
    comparison.add(best_error, best_tolerance, where);
}

/// Half of the components are the largest ones, the others are drawn.
std::vector<size_t> sampled_components(const std::vector<Vec3>& forces, std::mt19937_64& random) {
    std::vector<size_t> order(3 * forces.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return std::abs(forces[a / 3][a % 3]) > std::abs(forces[b / 3][b % 3]);
    });
    for (size_t k = components_per_system / 2; k < order.size(); ++k) {
        std::swap(order[k], order[k + uniform_index(random, order.size() - k)]);
    }
    order.resize(std::min(order.size(), components_per_system));
    return order;
}

void compare_forces(Comparison& comparison, const Differences& differences, const Capabilities& capabilities,
                    const System& system, const Properties& analytic, double tolerance, std::mt19937_64& random) {
    for (const size_t component : sampled_components(analytic.forces, random)) {
        const size_t atom = component / 3;
        const size_t axis = component % 3;
        const auto path = [&](double t) {
            auto moved = system;
            moved.positions[atom][axis] += t;
            return moved;
        };
        compare(comparison, differences, path, -analytic.forces[atom][axis], tolerance, steps(capabilities), 1.0,
                std::string("force ") + "xyz"[axis] + " on atom " + std::to_string(atom) + " of " + system.name);
    }
}

void compare_directions(Comparison& comparison, const Differences& differences, const Capabilities& capabilities,
                        const System& system, const Properties& analytic, double tolerance, std::mt19937_64& random) {
    for (size_t k = 0; k < directions_per_system; ++k) {
        std::vector<Vec3> direction(system.size());
        double expected = 0.0;
        for (size_t i = 0; i < system.size(); ++i) {
            direction[i] = {normal(random), normal(random), normal(random)};
            expected -= dot(direction[i], analytic.forces[i]);
        }
        const auto path = [&](double t) {
            auto moved = system;
            for (size_t i = 0; i < system.size(); ++i) {
                moved.positions[i] = moved.positions[i] + t * direction[i];
            }
            return moved;
        };
        // Errors of independent components add up like a random walk.
        const double scale = std::sqrt(3.0 * double(system.size()));
        compare(comparison, differences, path, expected, tolerance * scale, steps(capabilities), 0.5,
                "derivative along a random direction of " + system.name);
    }
}

void compare_virial(Comparison& comparison, const Differences& differences, const Capabilities& capabilities,
                    const System& system, const Properties& analytic, double tolerance) {
    for (size_t a = 0; a < 3; ++a) {
        for (size_t b = 0; b < 3; ++b) {
            const auto path = [&](double t) {
                Mat3 strain = identity3;
                strain[a][b] += t;
                return deformed(system, strain);
            };
            // A strain step moves atoms by about the step times the size of the neighborhood.
            compare(comparison, differences, path, -analytic.virial[a][b], tolerance, steps(capabilities),
                    0.3 / capabilities.angstrom,
                    std::string("virial ") + "xyz"[a] + "xyz"[b] + " of " + system.name);
        }
    }
}

/// Each is called some forty times: a molecule, a slab or a wire, and a cell, of each kind the one with fewest pairs.
std::vector<System> few_systems(Context& context) {
    std::vector<System> out;
    for (const bool partly : {false, true}) {
        const System* lightest = nullptr;
        size_t fewest = std::numeric_limits<size_t>::max();
        for (const auto& system : context.systems()) {
            const int directions = system.pbc[0] + system.pbc[1] + system.pbc[2];
            const size_t pairs = context.pairs_of(system);
            if (system.size() <= largest_system && directions < 3 && (directions > 0) == partly && pairs > 0 && pairs < fewest) {
                lightest = &system;
                fewest = pairs;
            }
        }
        if (lightest != nullptr) {
            out.push_back(*lightest);
        }
    }
    out.push_back(context.small_cell());
    return out;
}

std::vector<Result> run(Context& context) {
    // A float32 model is differentiated in float64 where that works: its code is then checked to 1e-6 instead of what
    // rounding leaves.
    auto& model = context.precise();
    const bool wide = &model != &context.model();
    const auto& capabilities = model.capabilities();
    std::mt19937_64 random(7);
    Comparison forces;
    Comparison virials;
    std::vector<std::string> names;
    double largest_force = 0.0;
    for (const auto& source : few_systems(context)) {
        // A small displacement: in symmetric systems forces vanish and prove nothing.
        const auto system = rattled(source, 0.03 * capabilities.angstrom, random);
        forces.in(system);
        virials.in(system);
        const auto analytic = evaluate(model, system);
        const auto limit = budget(Agreement::difference, capabilities, system, analytic);
        const Differences differences(model, system);
        compare_forces(forces, differences, capabilities, system, analytic, limit.force, random);
        compare_directions(forces, differences, capabilities, system, analytic, limit.force, random);
        compare_virial(virials, differences, capabilities, system, analytic, limit.virial);
        largest_force = std::max(largest_force, largest(analytic.forces));
        names.push_back(system.name);
    }
    // Where atoms have many neighbors a call takes long: all components at once, along a direction or two.
    if (const auto* crowded = crowded_crystal(context); crowded != nullptr) {
        const auto system = rattled(*crowded, 0.03 * capabilities.angstrom, random);
        forces.in(system);
        const auto analytic = evaluate(model, system);
        const auto limit = budget(Agreement::difference, capabilities, system, analytic);
        compare_directions(forces, Differences(model, system), capabilities, system, analytic, limit.force, random);
        names.push_back(system.name);
    }
    std::vector<Result> out = {
        judged("forces", forces, capabilities.energy_unit + "/" + capabilities.length_unit,
               "forces are not the derivative of the energy: dynamics does not conserve energy"),
        judged("virial", virials, capabilities.energy_unit,
               "the virial is not the derivative of the energy: pressure and barostats are wrong"),
    };
    if (out[0].status == Status::pass && out[0].tolerance.value_or(0) > 0.2 * largest_force) {
        out[0] = skipped("forces", "rounding of the energies hides the forces of these systems");
    }
    for (auto& result : out) {
        result.systems = names;
        if (wide) {
            result.message += " (float32 model evaluated in float64)";
        }
    }
    return out;
}

const Registered check({
    "FD", "derivatives",
    "Sampled force components, random directions and all nine strains against central differences.",
    "'difference' of the tolerance table, plus three standard deviations of the rounding of the energies",
    {"forces", "virial"}, run,
});

}  // namespace

}  // namespace mtt
