// The one report object, and how it is written.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "mtt/capabilities.hpp"
#include "mtt/export.hpp"
#include "mtt/result.hpp"

namespace mtt {

struct ReportEntry {
    std::string family;
    Result result;
    /// What the check measures, and where its tolerance comes from.
    std::string description;
    std::string tolerance_source;
};

struct Extension {
    std::string name;
    /// Empty if the file is not there.
    std::string sha256;
};

/// A check or a family ("FD" or "FD/virial") that the caller does not want to run, and why.
struct Waiver {
    std::string check;
    std::string reason;
};

/// What kept the model away from the rest of the machine. Texts name the means that were in force.
struct Isolation {
    bool process = false;
    /// Whether anything keeps the model from writing to files of the user's. Not in the report, whose texts say more.
    bool protects = false;
    double time_limit = 0.0;
    uint64_t memory_limit = 0;
    std::string network = "not restricted";
    std::string filesystem = "not restricted";
    std::vector<std::string> notes;
};

struct Request {
    double cutoff = 0.0;
    bool full_list = true;
    bool strict = true;
};

struct ReportModel {
    Capabilities capabilities;
    std::vector<Request> requests;
    std::optional<double> receptive_field;
};

struct Report {
    std::string program_version;
    std::string torch;
    std::string metatensor_torch;
    std::string metatomic_torch;
    std::string path;
    std::string sha256;
    uint64_t bytes = 0;
    std::vector<Extension> extensions;
    /// Empty if the model could not be loaded.
    std::optional<ReportModel> model;
    bool golden_pack = false;
    Level level = Level::full;
    std::string engine = "all";
    std::vector<std::string> only;
    std::vector<Waiver> waivers;
    /// Of the noise on the check systems and the order in which they come; 0: none.
    uint64_t seed = 0;
    /// Operators that the caller vouched for.
    std::vector<std::string> allowed_operators;
    Isolation isolation;
    std::vector<ReportEntry> entries;
    /// Results that the catalogue could give, at every level and for every engine.
    size_t checks_total = 0;
    /// Calls of the model.
    uint64_t calls = 0;
    /// Of the process that ran the model; 0 if it is not known.
    uint64_t peak_memory = 0;
    /// Text of the file that `--record` asked for.
    std::optional<std::string> recorded;
    double seconds = 0.0;

    /// No failure, and at least one check that passed: a report in which everything was skipped proves nothing.
    [[nodiscard]] MTT_EXPORT bool passed() const;
};

/// JSON with schema number 2, see docs/reference/verify-report.md.
MTT_EXPORT std::string to_json(const Report& report);
/// A table that fits into 100 columns.
MTT_EXPORT void print(const Report& report, std::ostream& out);

}  // namespace mtt
