// DTYPE: memory layouts, whole-numbered coordinates and floating-point types that engines may hand over.
#include <cmath>

#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

/// Slices of larger arrays, a transposed cell, one flag for all directions: torch tensors need not be contiguous.
Result strided(Context& context) {
    auto& model = context.model();
    Comparison comparison;
    for (const auto& system : context.systems()) {
        if (system.size() > 40) {
            continue;
        }
        attempt(comparison, system, [&] {
            const auto& reference = context.reference(system);
            Call call;
            call.systems = {system};
            call.strided = true;
            comparison.properties(
                properties_of(model.evaluate(call)), reference,
                budget(Agreement::repeat, model.capabilities(), system, reference, summation_roundings(system.size())),
                system.name
            );
        });
    }
    return judged("strided inputs", comparison, "", "inputs that are not contiguous in memory are misread");
}

/// A lattice on whole numbers, where vectors lie exactly along the axes.
System whole_numbers(Context& context) {
    const auto types = context.types();
    System out;
    out.name = "atoms on whole-numbered coordinates";
    const double step = std::max(1.0, std::round(context.spacing()));
    for (int k = 0; k < 8; ++k) {
        out.types.push_back(types[size_t(k) % types.size()]);
        out.positions.push_back({step * (k & 1), step * (k >> 1 & 1), step * (k >> 2 & 1)});
    }
    return out;
}

/// The same after moves far too small to matter, which take every vector off the axes.
Result on_axes(Context& context) {
    auto& model = context.model();
    const auto system = whole_numbers(context);
    const auto on = evaluate(model, system);
    const double amplitude = 1e-7 * context.capabilities().angstrom;
    std::mt19937_64 random(71);
    const auto off = evaluate(model, rattled(system, amplitude, random));
    // Second derivatives of 1000 eV/angstrom^2 would be stiffer than any bond.
    auto limit = budget(Agreement::geometry, model.capabilities(), system, off, summation_roundings(system.size()));
    const double stiffness = 1e3 * model.capabilities().electronvolt / std::pow(model.capabilities().angstrom, 2);
    limit.energy += 10 * amplitude * double(system.size()) * std::max(1.0, largest(off.forces));
    limit.force += stiffness * amplitude;
    limit.virial += 100 * stiffness * amplitude * model.capabilities().angstrom;
    Comparison comparison;
    comparison.properties(on, off, limit, system.name);
    return judged("whole numbers", comparison, "", "atoms exactly along the axes of each other give other results, or none, "
                  "than atoms moved by 1e-7: every simulation that starts from a lattice does this");
}

/// Engines that forget to convert must be stopped, or must get what they want.
Result other_dtype(Context& context) {
    const std::string name = "inputs of another precision";
    auto& model = context.model();
    const auto& system = context.systems().front();
    const auto& reference = context.reference(system);
    auto single = model.capabilities();
    single.dtype = "float32";
    auto limit = budget(Agreement::parity, single, system, reference, 4.0);
    Call call;
    call.systems = {system};
    call.dtype = model.capabilities().dtype == "float32" ? "float64" : "float32";
    call.leaf_in_model_dtype = true;
    Comparison comparison;
    // Some models convert their own numbers to what they get, and keep the rounding: no other check may see that.
    const auto instance = context.fresh();
    try {
        comparison.properties(properties_of(instance->evaluate(call)), reference, limit, system.name);
    } catch (const std::exception& error) {
        return passed(name, call.dtype + " is refused: " + explain(error).substr(0, 100));
    }
    return judged(name, comparison, "", call.dtype + " inputs are taken, and give wrong numbers without a word");
}

std::vector<Result> run(Context& context) {
    return {
        guarded("strided inputs", [&] { return strided(context); }),
        guarded("whole numbers", [&] { return on_axes(context); }),
        guarded("inputs of another precision", [&] { return other_dtype(context); }),
    };
}

const Registered check({
    "DTYPE", "inputs",
    "Strided and expanded inputs, coordinates that are whole numbers, and inputs of the other precision: right or refused.",
    "'repeat' and 'geometry' of the tolerance table; for another precision 'parity' of float32",
    {"strided inputs", "whole numbers", "inputs of another precision"}, run,
});

}  // namespace

}  // namespace mtt
