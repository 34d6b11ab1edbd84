// What the checks of the family LIMITS ask a model for.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "mtt/checks/values.hpp"
#include "mtt/physics/compare.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

/// Of the target in use: an energy with its derivatives, or values.
class Question {
public:
    /// Either of them, as the model has it.
    struct Found {
        Properties properties;
        Values values;
    };

    explicit Question(Context& context);

    /// One call, as an engine makes it.
    [[nodiscard]] Call call(const System& system) const;
    [[nodiscard]] Found found(const System& system, const Answer& answer) const;
    Found ask(Model& model, const System& system) const { return found(system, model.evaluate(call(system))); }
    /// What the shared instance says.
    [[nodiscard]] Found known(Context& context, const System& system) const {
        return reader_.has_value() ? ask(context.model(), system) : Found{context.reference(system), {}};
    }
    /// Adds the differences, which may be as large as between repeated calls.
    void compare(Comparison& comparison, const System& system, const Found& got, const Found& expected, const std::string& where) const;
    /// Check systems that the model answers for.
    [[nodiscard]] const std::vector<System>& systems() const { return systems_; }

private:
    Capabilities capabilities_;
    /// Empty where it is the energy.
    std::optional<ValueReader> reader_;
    Kind kind_ = Kind::system;
    const std::vector<System>& systems_;
};

/// Makes a check that asks it.
/// @param names of its results; they are skipped where the model answers for no system
std::function<std::vector<Result>(Context&)> asking(
    std::vector<Result> (*run)(Context&, const Question&), std::vector<std::string> names
);

}  // namespace mtt
