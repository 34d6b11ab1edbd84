// What one check found.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mtt/export.hpp"

namespace mtt {

enum class Status { pass, fail, skip, waived };
enum class Level { quick, full, soak };

/// One point of a plot that belongs to a result, for example reference and value of one force component.
struct Point {
    double x = 0.0;
    double y = 0.0;
    std::string label;
};

struct Result {
    std::string name;
    /// What it is about, where a model has more than one target.
    std::string target;
    Status status = Status::pass;
    std::optional<double> measured;
    std::optional<double> tolerance;
    std::string unit;
    /// For a failure: what an engine would do wrong. For a skip or a waiver: why.
    std::string message;
    std::vector<std::string> systems;
    double seconds = 0.0;
    /// For plots, where there is something to plot; a thousand points at most.
    std::vector<Point> series;
};

/// "quick", "full" and "soak".
MTT_EXPORT const char* name_of(Level level);
MTT_EXPORT const char* name_of(Status status);

}  // namespace mtt
