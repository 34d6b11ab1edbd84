// A model in plain C++ for tests of the checks: one or two layers of smooth pair functions with exact gradients, and
// switches that break it in one way each.
#pragma once

#include <memory>

#include "mtt/model/model.hpp"
#include "mtt/runner/context.hpp"

namespace testing {

struct Breakage {
    bool ignore_selection = false;
    bool no_row_without_atoms = false;
    bool sharp_cutoff = false;
    double force_factor = 1.0;
    /// Declared range in units of the true one.
    double range_factor = 1.0;
    /// Added to the energy from the given call on.
    int drift_after = -1;
    bool swap_virial = false;
    bool order_matters = false;
    /// Energy of each pair within the cutoff, a step that no derivative shows.
    double step_at_cutoff = 0.0;
    /// No fault: an uncertainty of each atom beside the energy.
    bool uncertain = false;
    /// Pairs from which on it fails without selected atoms; negative: never.
    int uncertainty_stops_from = -1;
    /// It has rows of all atoms where none is selected.
    bool uncertainty_of_ghosts = false;
};

class PlainModel final : public mtt::Model {
public:
    static constexpr double cutoff = 3.0;

    PlainModel(int layers, const Breakage& breakage, bool full = true, bool two_energies = false):
        layers_(layers), breakage_(breakage) {
        capabilities_.name = "plain";
        capabilities_.atomic_types = {1, 6};
        capabilities_.interaction_range = cutoff * layers * breakage.range_factor;
        capabilities_.length_unit = "angstrom";
        capabilities_.energy_unit = "eV";
        capabilities_.energy_kind = "atom";
        capabilities_.energy_output = "energy";
        capabilities_.dtype = "float64";
        capabilities_.devices = {"cpu"};
        if (two_energies) {
            capabilities_.outputs = {{"energy", "eV", "atom", ""}, {"energy/pbe", "eV", "atom", ""}};
        }
        if (breakage.uncertain) {
            capabilities_.outputs = {{"energy", "eV", "atom", ""}, {"energy_uncertainty", "eV", "atom", ""}};
        }
        requests_ = {{cutoff, full, true}};
    }

    [[nodiscard]] const mtt::Capabilities& capabilities() const override { return capabilities_; }
    [[nodiscard]] const std::vector<mtt::NeighborRequest>& requests() const override { return requests_; }
    mtt::Answer evaluate(const mtt::Call& call) override;
    void ask_for(const std::string& output) override { capabilities_.energy_output = output; }

private:
    struct Rows;
    [[nodiscard]] mtt::Block uncertainty(const mtt::Call& call) const;
    void evaluate_system(const mtt::Call& call, size_t index, mtt::Answer& answer);

    int layers_;
    Breakage breakage_;
    mtt::Capabilities capabilities_;
    std::vector<mtt::NeighborRequest> requests_;
    int calls_ = 0;
};

/// A context around such a model, without a file.
inline mtt::Context plain_context(int layers, const Breakage& breakage = {}) {
    return mtt::Context(std::make_shared<mtt::LocalHost>(
        [layers, breakage] { return std::make_unique<PlainModel>(layers, breakage); }, nullptr
    ));
}

}  // namespace testing
