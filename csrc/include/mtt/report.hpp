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
    /// Ids of the uses that a failure matters to.
    std::vector<std::string> uses;
    Severity severity = Severity::wrong;
    /// Ids of the uses for which a failure is expected.
    std::vector<std::string> expected_for = {};

    /// Failed, and somebody does not expect it.
    [[nodiscard]] bool counts_for(const std::string& use) const;
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

/// A failure that the caller knows and accepts. The check runs all the same: a failure with another message, of other
/// systems, or a worse one, is a failure.
struct ExpectedFailure {
    /// Family, or FAMILY/name.
    std::string check;
    std::string reason;
    /// Part of the message.
    std::string message;
    /// Part of the name of each system that fails, or of the circumstances; empty: any.
    std::string system = "";
    /// The uses that it is accepted for; empty: all.
    std::vector<std::string> uses = {};
    /// Largest number that the check may have measured.
    std::optional<double> worst = {};
    /// Set by the run: whether there was such a failure, and whether the check ran.
    bool used = false;
    bool tried = false;
};

/// One thing that is wrong, with all checks that saw it.
struct Finding {
    /// One line.
    std::string cause;
    /// A few words, for the table of verdicts.
    std::string brief;
    Severity severity = Severity::wrong;
    std::string target;
    std::vector<std::string> uses;
    /// Circumstances under which alone it shows; empty: always.
    std::string unless;
    std::vector<std::string> systems;
    /// Of the report; the first is the one that says most about the cause.
    std::vector<size_t> entries;
    /// Every one of the entries is expected.
    bool waived = false;
    std::string reason;
};

enum class Usable { yes, unless, no, untried };
MTT_EXPORT const char* name_of(Usable answer);

/// What one use can expect of the model.
struct Verdict {
    std::string use;
    std::string engine;
    std::string title;
    Usable answer = Usable::untried;
    /// In a few words, why.
    std::string reason;
    /// The exit code depends on it.
    bool judged = false;
    /// Of the report.
    std::vector<size_t> findings;
};

/// What kept the model away from the rest of the machine. Texts name the means that were in force.
struct Isolation {
    bool process = false;
    /// In how many at a time.
    int processes = 1;
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
    /// It gives an energy that MD can run with.
    bool potential = true;
    /// Names of the outputs that checks are about.
    std::vector<std::string> targets;
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
    /// Ids of the uses that the exit code judges.
    std::vector<std::string> judged;
    /// Of the table, one for each use; and what is wrong, worst first. Made by judge().
    std::vector<Verdict> verdicts;
    std::vector<Finding> findings;
    std::vector<std::string> only;
    std::vector<Waiver> waivers;
    std::vector<ExpectedFailure> expected;
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

    /// Every use that is judged can use the file, and at least one check passed: a report in which everything was
    /// skipped proves nothing.
    [[nodiscard]] MTT_EXPORT bool passed() const;
};

/// JSON with schema number 3, see docs/reference/verify-report.md.
MTT_EXPORT std::string to_json(const Report& report);
/// A table that fits into 100 columns.
MTT_EXPORT void print(const Report& report, std::ostream& out);

}  // namespace mtt
