#include "mtt/runner/verdicts.hpp"

#include <algorithm>

#include "mtt/engines/uses.hpp"
#include "mtt/joined.hpp"
#include "mtt/runner/expected.hpp"

namespace mtt {

namespace {

bool contains(const std::vector<std::string>& words, const std::string& word) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

/// Right, if not at its best.
bool harmless(Severity severity) { return severity == Severity::costs || severity == Severity::cosmetic; }

/// Left out by whoever runs the checks; a failure that a waiver expects has been seen instead.
bool left_out(const ReportEntry& entry) { return entry.result.status == Status::waived && entry.expected_for.empty(); }

/// Whether results of some kind have been asked for, and why not if none of them ran.
struct Tried {
    bool any = false;
    /// None of them ran, and not for a reason of the model's.
    bool on_purpose = false;
    std::string why_not;

    void look(const ReportEntry& entry) {
        if (entry.result.status != Status::skip && !left_out(entry)) {
            any = true;
            return;
        }
        on_purpose = left_out(entry) && (on_purpose || why_not.empty());
        why_not = entry.result.message;
    }
};

/// What nobody knows of a use, as its calls or those on domains were not made; all is known if `any`.
Tried tried(const Report& report, const Use& use) {
    Tried calls;
    Tried domains;
    for (const auto& entry : report.entries) {
        if (entry.family == "ENGINE" && entry.result.name == use.engine) {
            calls.look(entry);
        }
        // What a domain gives is one number, however it is looked at.
        if (entry.family == "DD" && entry.result.name == "energy") {
            domains.look(entry);
        }
    }
    if (!calls.any || !use.decomposes) {
        calls.why_not = calls.why_not.empty() ? "its calls were not made" : calls.why_not;
        return calls;
    }
    domains.why_not = domains.why_not.empty() ? "no domains were tried" : domains.why_not;
    return domains;
}

/// Whether all that a finding means to this use comes under some circumstances only; these are added to `when`.
bool conditional(const Report& report, const Finding& finding, const Use& use, std::vector<std::string>& when) {
    for (const size_t k : finding.entries) {
        const auto& entry = report.entries[k];
        if (!entry.counts_for(use.id)) {
            continue;
        }
        if (entry.result.unless.empty()) {
            return false;
        }
        if (!contains(when, entry.result.unless)) {
            when.push_back(entry.result.unless);
        }
    }
    return true;
}

Verdict verdict_of(const Report& report, const Use& use) {
    Verdict out{use.id, use.engine, use.title, Usable::yes, "", contains(report.judged, use.id), {}};
    std::vector<std::string> when;
    size_t more = 0;
    size_t expected = 0;
    for (size_t f = 0; f < report.findings.size(); ++f) {
        const auto& finding = report.findings[f];
        if (!contains(finding.uses, use.id)) {
            continue;
        }
        out.findings.push_back(f);
        const bool counts = std::any_of(finding.entries.begin(), finding.entries.end(), [&](size_t k) {
            return report.entries[k].counts_for(use.id);
        });
        expected += counts || harmless(finding.severity) ? 0 : 1;
        if (harmless(finding.severity) || !counts || conditional(report, finding, use, when)) {
            continue;
        }
        if (out.answer == Usable::no) {
            ++more;
        } else {
            const auto first = std::find_if(finding.entries.begin(), finding.entries.end(), [&](size_t k) {
                return report.entries[k].counts_for(use.id) && report.entries[k].result.unless.empty();
            });
            out.answer = Usable::no;
            out.reason = brief_of(report.entries[*first]);
        }
    }
    if (out.answer == Usable::no) {
        out.reason += more > 0 ? ", and " + std::to_string(more) + " more" : "";
        return out;
    }
    if (!when.empty()) {
        out.answer = Usable::unless;
        out.reason = joined(when, ", or ");
        return out;
    }
    if (const auto known = tried(report, use); !known.any) {
        out.answer = Usable::untried;
        out.reason = known.why_not;
    } else if (expected > 0) {
        out.reason = expected == 1 ? "1 failure is expected" : std::to_string(expected) + " failures are expected";
    }
    return out;
}

}  // namespace

const char* name_of(Usable answer) {
    switch (answer) {
        case Usable::yes: return "yes";
        case Usable::unless: return "unless";
        case Usable::no: return "no";
        case Usable::untried: break;
    }
    return "untried";
}

bool ReportEntry::counts_for(const std::string& use) const {
    return result.status == Status::fail && !harmless(severity) && contains(uses, use) && !contains(expected_for, use);
}

bool Report::passed() const {
    const bool any = std::any_of(entries.begin(), entries.end(), [](const ReportEntry& entry) {
        return entry.result.status == Status::pass;
    });
    // Whoever runs some of the checks only, or leaves some out, does not want to hear that these did not run.
    const auto chosen = [this](const Verdict& verdict) {
        return verdict.answer == Usable::untried && (!only.empty() || tried(*this, use_of(verdict.use)).on_purpose);
    };
    return any && !verdicts.empty() && std::all_of(verdicts.begin(), verdicts.end(), [&chosen](const Verdict& verdict) {
        return !verdict.judged || verdict.answer == Usable::yes || chosen(verdict);
    });
}

void judge(Report& report) {
    // Waivers may name circumstances, which checks learn from each other.
    spread_circumstances(report);
    expect(report);
    report.findings = findings_of(report);
    report.verdicts.clear();
    for (const auto& use : uses()) {
        report.verdicts.push_back(verdict_of(report, use));
    }
}

}  // namespace mtt
