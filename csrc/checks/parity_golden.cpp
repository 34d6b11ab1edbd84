// PARITY: the numbers that the eager float64 model gave at export, against what this process gets from the file.
#include <cmath>
#include <memory>
#include <optional>

#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"
#include "mtt/runner/parity.hpp"

namespace mtt {

namespace {

/// Engine-mode properties in the units of the golden pack.
Properties in_pack_units(
    Model& model, const GoldenPack& pack, const std::string& unit, const System& system, double length
) {
    Call call;
    // Systems are given in the length unit of the model; the call converts to the unit of the engine.
    call.systems = {deformed(system, {{{length, 0, 0}, {0, length, 0}, {0, 0, length}}})};
    call.length_unit = pack.length_unit;
    call.energy_unit = unit;
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

/// What float32 can cost a correct model, for each system: the float32 file run in float64, against itself with inputs
/// and weights changed by half a unit in the last place of float32.
class Spreads {
public:
    Spreads(Context& context, const GoldenPack& pack, const std::string& unit, double length):
        context_(context), pack_(pack), unit_(unit), length_(length),
        in_float64_(&context.precise() != &context.model()) {}

    /// False where the file does not run in float64.
    [[nodiscard]] bool known() const { return in_float64_; }
    /// Of one system of the pack; nothing where a changed model does not run.
    std::optional<Budget> of(size_t k);

private:
    Properties properties(Model& model, const System& system) const {
        return in_pack_units(model, pack_, unit_, system, length_);
    }

    Context& context_;
    const GoldenPack& pack_;
    const std::string& unit_;
    double length_;
    bool in_float64_;
    std::unique_ptr<Model> noisy_;
};

std::optional<Budget> Spreads::of(size_t k) {
    const auto& system = pack_.systems[k];
    const auto exact = properties(context_.precise(), system);
    auto rounded = system;
    for (auto& x : rounded.positions) {
        for (auto& component : x) {
            component = double(float(component));
        }
    }
    Budget out;
    widen(out, properties(context_.precise(), rounded), exact);
    try {
        if (noisy_ == nullptr) {
            noisy_ = context_.model().widened();
        }
        for (const uint64_t seed : {1, 2}) {
            noisy_->disturb(seed);
            widen(out, properties(*noisy_, system), exact);
        }
    } catch (const std::exception&) {
        in_float64_ = false;
        return {};
    }
    return out;
}

/// Whether all that the pack says of a system agrees within `limit`.
bool agree(const Properties& got, const Properties& reference, const Budget& limit) {
    Comparison comparison;
    comparison.properties(got, reference, limit, "");
    if (!got.energies.empty() && !reference.energies.empty()) {
        comparison.atomic_energies(got.energies, reference.energies, limit, "");
    }
    return comparison.passed();
}

/// Never below the floor; every layer of a network rounds again, hence the factor.
Budget above(const Budget& floor, const Budget& spread) {
    constexpr double layers = 30.0;
    Budget out = floor;
    out.energy += layers * spread.energy;
    out.atomic_energy += layers * spread.atomic_energy;
    out.force += layers * spread.force;
    out.virial += layers * spread.virial;
    return out;
}

/// The pack is written in the units in which the model was trained, so the declared ones must be the same.
Result units_result(const Capabilities& capabilities, const GoldenPack& pack, const std::string& unit) {
    const std::pair<std::string, std::string> both[] = {
        {capabilities.length_unit, pack.length_unit}, {capabilities.energy_unit, unit}
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
    const auto* target = context.golden_target();
    if (target == nullptr) {
        return {skipped("energy", "the golden pack has no values of '" + context.target().name + "'")};
    }
    const auto& unit = target->target.unit;
    auto capabilities = context.capabilities();
    const double length = context.golden_length_factor();
    // Budgets are in the units of the pack, in which the comparison happens.
    capabilities.angstrom = unit_factor("angstrom", pack->length_unit);
    capabilities.electronvolt = unit_factor("eV", unit);
    const auto units = units_result(context.capabilities(), *pack, unit);
    if (units.status == Status::fail) {
        return {units};
    }
    Spreads spreads(context, *pack, unit, length);
    Parity parity;
    for (const size_t k : context.drawn_order(pack->systems.size())) {
        const auto& system = pack->systems[k];
        const auto& reference = target->references[k];
        const auto got = in_pack_units(context.model(), *pack, unit, system, length);
        auto limit = budget(Agreement::parity, capabilities, system, reference);
        if (spreads.known()) {
            // The rest of the budget takes eight calls in float64, and is for systems that need more than the floor.
            const auto floor = budget(Agreement::floor, capabilities, system, reference);
            const auto spread = agree(got, reference, floor) ? Budget{} : spreads.of(k);
            limit = spread.has_value() ? above(floor, *spread) : limit;
        }
        parity.compare(system, got, reference, limit);
    }
    auto out = parity.results("", unit, pack->length_unit,
                              "the exported file does not compute what the trained model computed");
    out.insert(out.begin(), units);
    return out;
}

const Registered check({
    "PARITY", "golden pack",
    "Energy, per-atom energies, forces and virial equal those of the eager float64 model stored in the file.",
    "float64: 'parity' of the tolerance table. float32: an error budget for each system, 30 times what the model run in "
    "float64 changes by when inputs and weights are changed by half a unit in the last place of float32, plus 'floor' of "
    "the table, which alone is asked where it is kept; where the model does not run in float64, 'parity'. The rounding of the energy to the dtype is added",
    {"energy", "units", "atomic energies", "forces", "virial"}, run,
});

}  // namespace

}  // namespace mtt
