// SYM: how much a rotation changes. Models without built-in equivariance (PET) are only approximately invariant, so
// the number is reported; it fails only beyond what the user allows. Architectures that turn exactly say so in the golden
// pack, and are held to it.
#include <cmath>

#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

bool turns_exactly(Context& context) { return context.golden() != nullptr && context.golden()->turns_exactly; }

/// Energy and forces as they are expected of a system that is turned.
Properties turned(const Properties& reference, const Mat3& rotation) {
    Properties out = reference;
    for (auto& force : out.forces) {
        force = force * rotation;
    }
    out.virial = transpose(rotation) * reference.virial * rotation;
    return out;
}

std::vector<Result> run(Context& context) {
    auto& model = context.model();
    std::mt19937_64 random(41);
    double energy_change = 0.0;
    double force_change = 0.0;
    std::vector<std::string> names;
    Comparison exact;
    for (const auto& system : context.systems()) {
        if (system.size() > 40 || names.size() >= 2) {
            continue;
        }
        names.push_back(system.name);
        const auto reference = evaluate(model, system);
        for (int k = 0; k < 2; ++k) {
            const auto rotation = random_rotation(random);
            const auto got = evaluate(model, deformed(system, rotation));
            exact.in(system);
            exact.properties(got, turned(reference, rotation),
                             budget(Agreement::geometry, context.capabilities(), system, reference,
                                    summation_roundings(system.size())), system.name);
            energy_change = std::max(energy_change, std::abs(got.energy - reference.energy) / double(system.size()));
            for (size_t i = 0; i < system.size(); ++i) {
                force_change = std::max(force_change, norm(got.forces[i] - reference.forces[i] * rotation));
            }
        }
    }
    const auto& capabilities = context.capabilities();
    const std::string unit = capabilities.energy_unit + "/" + capabilities.length_unit;
    auto result = passed(
        "rotation", "rotations change forces by up to " + short_number(force_change) + " " + unit +
        " and energies by " + short_number(energy_change) + " " + capabilities.energy_unit + " per atom"
    );
    result.measured = 1e3 * std::max(force_change * capabilities.angstrom, energy_change) / capabilities.electronvolt;
    result.unit = "meV per atom, meV/angstrom";
    result.tolerance = context.mode().max_rotation_error;
    if (result.tolerance.has_value() && !(*result.measured <= *result.tolerance)) {
        result.status = Status::fail;
        result.message += ": more than was allowed";
    }
    result.systems = names;
    if (turns_exactly(context) && result.status == Status::pass && !result.tolerance.has_value()) {
        auto judgement = judged("rotation", exact, "", "rotations change the results, although the architecture of this model "
                                "turns with the system exactly: what was exported does not");
        judgement.systems = names;
        judgement.message = result.message + "; " + judgement.message;
        return {judgement};
    }
    return {result};
}

const Registered check({
    "SYM", "rotation", "Change of forces and energy under random rotations; models such as PET are not exactly invariant.",
    "--max-rotation-error, in meV per atom and meV/angstrom; without it 'geometry' of the tolerance table for architectures that "
    "turn exactly, as the golden pack says, and otherwise the number is only reported",
    {"rotation"}, run,
});

}  // namespace

}  // namespace mtt
