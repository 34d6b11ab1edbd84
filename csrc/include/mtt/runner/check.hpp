// What a check is. A new check is one new file in csrc/checks that defines a static `Registered` object.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "mtt/model/target.hpp"
#include "mtt/physics/compare.hpp"
#include "mtt/result.hpp"

namespace mtt {

class Context;

/// What a check is about. It runs for each target that fits, or once.
enum class About {
    file,           ///< once, whatever the model predicts
    picked,         ///< once, with the energy that engines pick, or the first target of a model without one
    energy,         ///< each target with gradients
    engine_energy,  ///< each that engines ask for by name
    values,         ///< each without gradients
    uncertainty     ///< each that a model says of its own values
};

/// When a check may run. The model may be in two processes, each of which does a part of the families.
enum class Turn {
    any,    ///< beside checks in the other process
    alone,  ///< while the other process does nothing: time is measured, or threads must really run side by side
    last    ///< in each process, after all others: what calls have left behind is looked for
};

struct Check {
    std::string family;
    std::string name;
    std::string description;
    /// Where the tolerance comes from, in words.
    std::string tolerance;
    /// Names of the results, in order. An exception that escapes `run` becomes a failure of the first.
    std::vector<std::string> results;
    std::function<std::vector<Result>(Context&)> run;
    /// The first level at which it runs.
    Level from = Level::quick;
    /// Uses or engines that a failure matters to, as `--for` takes them; empty: all that can ask for the target.
    std::vector<std::string> matters = {};
    About about = About::energy;
    /// Of a failure that does not say another.
    Severity severity = Severity::wrong;
    Turn turn = Turn::any;

    [[nodiscard]] bool fits(const Target& target) const;
    /// Ids of the uses that it matters to.
    [[nodiscard]] std::vector<std::string> uses() const;
};

class Registered {
public:
    explicit Registered(Check check, About about = About::energy);
};

/// All checks, ordered by family and then by name.
const std::vector<Check>& catalogue();
struct Family {
    const char* name;
    /// What its checks find out, for people.
    const char* question;
    /// They run in the second process, if there are two. Together they take about as long as the others.
    bool second = false;
};
const std::vector<Family>& family_table();
/// Families in the order of the report, which is that in which one process runs them.
const std::vector<std::string>& families();
/// Whether its checks run in the second process, if there are two.
bool is_second(const std::string& family);
/// From the quickest to the longest.
const std::vector<Level>& levels();

Result passed(std::string name, std::string message = "");
Result failed(std::string name, std::string message);
/// The same with what an exception said after the message, and all of its text in the details.
Result failed(std::string name, std::string message, const std::exception& error);
Result skipped(std::string name, std::string why);
/// The result of `body`; an exception is a failure with its message.
Result guarded(const std::string& name, const std::function<Result()>& body);
/// Runs `body`, whose comparisons are about `system`. An exception is a failure of that system, and others go on.
void attempt(Comparison& comparison, const System& system, const std::function<void()>& body);
/// Passes or fails by the worst case of `comparison`; `consequence` is said when it fails.
Result judged(std::string name, const Comparison& comparison, const std::string& unit, const std::string& consequence);

}  // namespace mtt
