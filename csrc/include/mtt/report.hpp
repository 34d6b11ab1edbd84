// The one report object, and how it is written.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "mtt/check.hpp"

namespace mtt {

struct ReportEntry {
    std::string family;
    Result result;
};

struct Report {
    std::string program_version;
    std::string torch;
    std::string metatensor_torch;
    std::string metatomic_torch;
    std::string path;
    std::string sha256;
    uint64_t bytes = 0;
    /// Empty if the model could not be loaded.
    std::optional<Capabilities> model;
    bool golden_pack = false;
    std::vector<ReportEntry> entries;
    double seconds = 0.0;

    [[nodiscard]] bool passed() const;
};

/// JSON with schema number 1, see docs/reference.
std::string to_json(const Report& report);
/// A table that fits into 100 columns.
void print(const Report& report, std::ostream& out);

}  // namespace mtt
