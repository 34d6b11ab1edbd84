// PARITY: the numbers that the eager float64 model gave at export, against what this process gets from the file.
#include <cmath>

#include "mtt/check.hpp"
#include "mtt/context.hpp"
#include "mtt/engine.hpp"

namespace mtt {

namespace {

/// Engine-mode properties in the units of the golden pack.
Properties in_pack_units(Model& model, const GoldenPack& pack, const System& system, double length) {
    Call call;
    // Systems are given in the length unit of the model; the call converts to the unit of the engine.
    call.systems = {deformed(system, {{{length, 0, 0}, {0, length, 0}, {0, 0, length}}})};
    call.length_unit = pack.length_unit;
    call.energy_unit = pack.energy_unit;
    auto answer = model.evaluate(call);
    Properties out;
    out.energy = single_row(answer);
    out.forces = std::move(answer.forces.at(0));
    out.virial = answer.virials.at(0);
    if (model.capabilities().per_atom()) {
        call.kind = Kind::atom;
        call.gradients = false;
        out.energies = rows_by_atom(model.evaluate(call), 0, system.size());
    }
    return out;
}

/// Largest differences of two evaluations.
void widen(Budget& spread, const Properties& a, const Properties& b) {
    const auto take = [](double& into, double difference) { into = std::max(into, std::abs(difference)); };
    take(spread.energy, a.energy - b.energy);
    for (size_t i = 0; i < a.energies.size(); ++i) {
        take(spread.atomic_energy, a.energies[i] - b.energies[i]);
    }
    for (size_t i = 0; i < a.forces.size(); ++i) {
        for (int k = 0; k < 3; ++k) {
            take(spread.force, a.forces[i][k] - b.forces[i][k]);
        }
    }
    for (int k = 0; k < 3; ++k) {
        for (int l = 0; l < 3; ++l) {
            take(spread.virial, a.virial[k][l] - b.virial[k][l]);
        }
    }
}

/// What float32 can cost a correct model, for one system: the float32 file run in float64, against itself with inputs
/// and weights changed by half a unit in the last place of float32.
class ErrorBudget {
public:
    explicit ErrorBudget(Context& context) {
        if (&context.precise() == &context.model()) {
            return;
        }
        try {
            for (const uint64_t seed : {1, 2}) {
                noisy_.push_back(context.model().widened(seed));
            }
            exact_ = &context.precise();
        } catch (const std::exception&) {
            noisy_.clear();
        }
    }
    [[nodiscard]] bool known() const { return exact_ != nullptr; }

    /// Never below the floor that is given; every layer of a network rounds again, hence the factor.
    void apply(const GoldenPack& pack, const System& system, double length, Budget& limit, const Budget& floor) const {
        Budget spread;
        const auto exact = in_pack_units(*exact_, pack, system, length);
        auto rounded = system;
        for (auto& x : rounded.positions) {
            for (auto& component : x) {
                component = double(float(component));
            }
        }
        widen(spread, in_pack_units(*exact_, pack, rounded, length), exact);
        for (const auto& model : noisy_) {
            widen(spread, in_pack_units(*model, pack, system, length), exact);
        }
        constexpr double layers = 30.0;
        limit.energy = floor.energy + layers * spread.energy;
        limit.atomic_energy = floor.atomic_energy + layers * spread.atomic_energy;
        limit.force = floor.force + layers * spread.force;
        limit.virial = floor.virial + layers * spread.virial;
    }

private:
    Model* exact_ = nullptr;
    std::vector<std::unique_ptr<Model>> noisy_;
};

/// The pack is written in the units in which the model was trained, so the declared ones must be the same.
Result units_result(const Capabilities& capabilities, const GoldenPack& pack) {
    const std::pair<std::string, std::string> both[] = {
        {capabilities.length_unit, pack.length_unit}, {capabilities.energy_unit, pack.energy_unit}
    };
    for (const auto& [declared, trained] : both) {
        if (!declared.empty() && std::abs(unit_factor(declared, trained) - 1.0) > 1e-12) {
            return failed("units", "the model declares '" + declared + "', but its numbers are in '" + trained +
                          "': engines convert them to something wrong");
        }
    }
    return passed("units");
}

std::vector<Result> run(Context& context) {
    const auto* pack = context.golden();
    if (pack == nullptr) {
        return {skipped("energy", context.golden_error().empty()
            ? "the file carries no golden pack, so there is nothing to compare with"
            : context.golden_error())};
    }
    auto capabilities = context.capabilities();
    const double length = context.golden_length_factor();
    // Budgets are in the units of the pack, in which the comparison happens.
    capabilities.angstrom = unit_factor("angstrom", pack->length_unit);
    capabilities.electronvolt = unit_factor("eV", pack->energy_unit);
    const auto units = units_result(context.capabilities(), *pack);
    if (units.status == Status::fail) {
        return {units};
    }
    const ErrorBudget errors(context);
    Comparison energies;
    Comparison atoms;
    Comparison forces;
    Comparison virials;
    std::vector<std::string> names;
    for (size_t k = 0; k < pack->systems.size(); ++k) {
        const auto& system = pack->systems[k];
        const auto& reference = pack->references[k];
        auto limit = budget(Agreement::parity, capabilities, system, reference);
        if (errors.known()) {
            errors.apply(*pack, system, length, limit,
                         budget(Agreement::floor, capabilities, system, reference));
        }
        const auto got = in_pack_units(context.model(), *pack, system, length);
        energies.energies(got.energy, reference.energy, limit, system.name);
        if (capabilities.per_atom()) {
            atoms.atomic_energies(got.energies, reference.energies, limit, system.name);
        }
        forces.forces(got.forces, reference.forces, limit, system.name);
        virials.virials(got.virial, reference.virial, limit, system.name);
        names.push_back(system.name);
    }
    const std::string unit = pack->energy_unit;
    const std::string consequence = "the exported file does not compute what the trained model computed";
    std::vector<Result> out = {
        units,
        judged("energy", energies, unit, consequence),
        capabilities.per_atom() ? judged("atomic energies", atoms, unit, consequence)
                                : skipped("atomic energies", "the model declares its energy per system only"),
        judged("forces", forces, unit + "/" + pack->length_unit, consequence),
        judged("virial", virials, unit, consequence),
    };
    for (auto& result : out) {
        result.systems = names;
    }
    return out;
}

const Registered check({
    "PARITY", "golden pack",
    "Energy, per-atom energies, forces and virial equal those of the eager float64 model stored in the file.",
    "float64: 'parity' of the tolerance table. float32: an error budget for each system, 30 times what the model run in "
    "float64 changes by when inputs and weights are changed by half a unit in the last place of float32, plus 'floor' of "
    "the table; where it does not run in float64, 'parity'. The rounding of the energy to the dtype is added",
    {"energy", "units", "atomic energies", "forces", "virial"}, run,
});

}  // namespace

}  // namespace mtt
