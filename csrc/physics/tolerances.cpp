#include "mtt/physics/tolerances.hpp"

#include <algorithm>
#include <cmath>

namespace mtt {

const std::vector<ToleranceRow>& tolerance_table() {
    // Measured on sound models (smooth pair and two-layer potentials, PET in both precisions) and then given a
    // factor of at least ten; the smallest injected fault of the corpus lies at least a factor of ten above.
    static const std::vector<ToleranceRow> table = {
        {Agreement::repeat, "repeat", 1e-11, 3e-5,
         "Only the order of sums may differ (fused kernels, other neighbor order): a few hundred roundings, "
         "amplified by normalization layers."},
        {Agreement::geometry, "geometry", 1e-9, 1e-4,
         "As repeat, plus the rounding of coordinates that are written differently (lattice translations)."},
        {Agreement::floor, "floor", 1e-9, 5e-6,
         "Added to a measured error budget: sums over neighbors in another order, at the scale of the largest force."},
        {Agreement::parity, "parity", 1e-9, 2e-4,
         "float64: other kernels and order of sums than in the eager model. float32: rounding of weights and "
         "activations through all layers."},
        {Agreement::difference, "difference", 1e-6, 2e-3,
         "Truncation after Richardson extrapolation is far smaller; this leaves room for pairs that cross a cutoff "
         "whose second derivative jumps. Rounding of the energies is added per system."},
    };
    return table;
}

double relative_tolerance(Agreement agreement, const std::string& dtype) {
    const auto& row = *std::find_if(tolerance_table().begin(), tolerance_table().end(), [&](const auto& item) {
        return item.agreement == agreement;
    });
    return dtype == "float32" ? row.float32 : row.float64;
}

double summation_roundings(size_t atoms) { return 1.0 + std::sqrt(double(atoms)); }

Budget budget(
    Agreement agreement, const Capabilities& model, const System& system, const Properties& reference, double roundings
) {
    const double relative = relative_tolerance(agreement, model.dtype);
    const double n = std::max<double>(1.0, double(system.size()));
    const double unit_force = model.electronvolt / model.angstrom;
    double force_scale = std::max(unit_force, largest(reference.forces));
    if (!std::isfinite(force_scale)) {
        force_scale = unit_force;
    }
    double largest_atomic = 0.0;
    for (const double e : reference.energies) {
        largest_atomic = std::max(largest_atomic, std::abs(e));
    }
    // Interactions of one angstrom times the largest force set the scale of what the network computes; the total
    // energy itself only enters through the rounding to the dtype (0.5 ulp, with 10 % to spare), so that a large
    // energy offset does not make the check blind.
    const double network = relative * force_scale * model.angstrom;
    Budget out;
    out.energy = network * std::sqrt(n) + 0.55 * roundings * model.ulp(reference.energy);
    out.atomic_energy = network + 0.55 * model.ulp(largest_atomic);
    out.force = relative * force_scale;
    double virial_scale = largest(reference.virial);
    if (!std::isfinite(virial_scale)) {
        virial_scale = 0.0;
    }
    // A virial is a sum over pairs of force times distance, a few angstrom each.
    out.virial = relative * std::max(virial_scale, 3.0 * model.angstrom * force_scale * std::sqrt(n));
    return out;
}

}  // namespace mtt
