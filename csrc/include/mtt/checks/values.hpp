// For checks of targets without gradients, such as charges: their values, and how far two of them may differ.
#pragma once

#include <string>
#include <vector>

#include "mtt/physics/compare.hpp"
#include "mtt/physics/domains.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

/// Values of a target for one system.
struct Values {
    /// [atom * properties + property]; empty for a model that has none per atom.
    std::vector<double> atoms;
    /// [property]; empty for a target per atom.
    std::vector<double> total;
};

/// Asks for the target in use.
class ValueReader {
public:
    /// Takes the spread of the values of one atomic type over the check systems as the scale of tolerances.
    explicit ValueReader(Context& context);

    [[nodiscard]] Values values(Model& model, const System& system) const { return values(model, call_of(system)); }
    /// Of the only system of `call`.
    [[nodiscard]] Values values(Model& model, Call call) const;
    /// Of the local atoms of domains, put together; NaN where none of them has an atom.
    [[nodiscard]] Values values(Model& model, const std::vector<Domain>& domains, size_t n_atoms) const;
    /// Adds the differences of all values.
    /// @param extra allowed beside the row of the tolerance table, relative to the scale
    void compare(Comparison& comparison, const Values& a, const Values& b, Agreement agreement, const std::string& where,
                 double extra = 0.0) const;
    [[nodiscard]] size_t properties() const { return properties_; }
    [[nodiscard]] static Call call_of(const System& system);

private:
    size_t properties_;
    bool per_system_;
    bool per_atom_;
    bool float32_;
    double scale_ = 0.0;
    /// Of the largest value to the dtype of the model.
    double rounding_ = 0.0;
};

bool finite(const Values& values);

}  // namespace mtt
