// For checks of targets without gradients, such as charges, dipoles or features: their values, how far two of them may
// differ, and whom it matters to.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "mtt/physics/compare.hpp"
#include "mtt/physics/domains.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

/// Values of a target for one system.
struct Values {
    /// [atom * numbers + number]; empty for a model that has none per atom.
    std::vector<double> atoms;
    /// [number]; empty for a target per atom.
    std::vector<double> total;
};

bool fully_periodic(const System& system);

/// The ways in which the model can be asked for the target in use.
std::vector<Kind> kinds_of(Context& context);

/// What calls show of the target in use: asks once, and notes systems that the model fails for.
const ValueFacts& facts_of(Context& context);

/// Asks for the target in use.
class ValueReader {
public:
    /// Takes the spread of the values of one atomic type over the check systems as the scale of tolerances.
    explicit ValueReader(Context& context);

    [[nodiscard]] Values values(Model& model, const System& system) const { return values(model, call_of(system)); }
    /// Of the only system of `call`.
    [[nodiscard]] Values values(Model& model, Call call) const;
    /// Of the local atoms of domains, put together; NaN where none of them has an atom. What is no sum is left out, and
    /// places are relative to the atoms, of which a domain may have another image.
    [[nodiscard]] Values values(Model& model, const std::vector<Domain>& domains, size_t n_atoms) const;
    /// Of the whole system, as far as that of its domains says something.
    [[nodiscard]] Values undivided(Model& model, const System& system) const;
    /// Adds the differences of all values.
    /// @param extra allowed beside the row of the tolerance table, relative to the scale
    void compare(Comparison& comparison, const Values& a, const Values& b, Agreement agreement, const std::string& where,
                 double extra = 0.0) const;
    /// Of a row.
    [[nodiscard]] size_t numbers() const { return facts_.numbers; }
    /// Check systems with finite values.
    [[nodiscard]] const std::vector<System>& systems() const { return facts_.systems; }
    /// Each value is a place in space, which moves with the system.
    [[nodiscard]] bool is_place() const { return place_; }
    [[nodiscard]] static Call call_of(const System& system);

private:
    const ValueFacts& facts_;
    bool per_system_;
    bool per_atom_;
    bool additive_;
    bool place_;
    std::string dtype_;
};

bool finite(const Values& values);

/// The uses that can ask for the target in use, and what has to be so that they do; empty: they always do.
struct Askers {
    std::vector<std::string> uses;
    std::string when;
};
Askers askers_of(Context& context);

/// Makes a check of the target in use. Its failures matter to those who can ask for the target.
/// @param names of its results; they are skipped where no call gives finite values
std::function<std::vector<Result>(Context&)> about_values(
    std::vector<Result> (*run)(Context&), std::vector<std::string> names = {"values"}
);
/// The failure, as one that only those see who select atoms, or cut the box into domains.
Result among_selected(Context& context, Result result);

}  // namespace mtt
