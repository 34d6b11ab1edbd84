// What a check is. A new check is one new file in csrc/checks that defines a static `Registered` object.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "mtt/compare.hpp"

namespace mtt {

class Context;

enum class Status { pass, fail, skip };

struct Result {
    std::string name;
    Status status = Status::pass;
    std::optional<double> measured;
    std::optional<double> tolerance;
    std::string unit;
    /// For a failure: what an engine would do wrong. For a skip: why.
    std::string message;
    std::vector<std::string> systems;
    double seconds = 0.0;
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
};

class Registered {
public:
    explicit Registered(Check check);
};

/// All checks, ordered by family (LOAD, SCHEMA, PARITY, NTH, FD, DD, GEO, SYM) and then by name.
const std::vector<Check>& catalogue();
/// Families in the order in which they run.
const std::vector<std::string>& families();

Result passed(std::string name, std::string message = "");
Result failed(std::string name, std::string message);
Result skipped(std::string name, std::string why);
/// The result of `body`; an exception is a failure with its message.
Result guarded(const std::string& name, const std::function<Result()>& body);
/// Passes or fails by the worst case of `comparison`; `consequence` is said when it fails.
Result judged(std::string name, const Comparison& comparison, const std::string& unit, const std::string& consequence);

}  // namespace mtt
