#include <algorithm>
#include <iomanip>
#include <sstream>

#include "mtt/isolation/sandbox.hpp"
#include "mtt/joined.hpp"
#include "mtt/physics/compare.hpp"
#include "mtt/report.hpp"
#include "mtt/runner/printable.hpp"

namespace mtt {

namespace {

constexpr size_t width = 100;

/// Words of `text` in lines of at most `columns`, the first of which starts at column 0.
std::vector<std::string> wrap(const std::string& text, size_t columns) {
    std::vector<std::string> lines(1);
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        while (word.size() > columns) {  // a path without spaces
            lines.push_back(word.substr(0, columns));
            word = word.substr(columns);
        }
        if (!lines.back().empty() && lines.back().size() + 1 + word.size() > columns) {
            lines.emplace_back();
        }
        lines.back() += (lines.back().empty() ? "" : " ") + word;
    }
    return lines;
}

const char* label(Status status) {
    return status == Status::fail ? "FAIL" : name_of(status);
}

std::string optional_number(const std::optional<double>& value) {
    return value.has_value() ? short_number(*value) : "";
}

/// One line for each cause and what it matters to, worst first.
void print_findings(const Report& report, std::ostream& out) {
    for (const auto& finding : report.findings) {
        // What matters to nobody who is judged is in the table.
        if (std::none_of(finding.uses.begin(), finding.uses.end(), [&](const std::string& use) {
                return std::find(report.judged.begin(), report.judged.end(), use) != report.judged.end();
            })) {
            continue;
        }
        const auto& first = report.entries[finding.entries.front()];
        std::string text = std::string(finding.waived ? "waived" : name_of(finding.severity)) + ": " + finding.cause;
        text += " [" + first.family + "/" + first.result.name;
        text += finding.entries.size() > 1 ? " and " + std::to_string(finding.entries.size() - 1) + " more]" : "]";
        text += finding.reason.empty() ? "" : ": " + finding.reason;
        out << "\n";
        for (const auto& line : wrap(printable(text), width)) {
            out << line << "\n";
        }
    }
    for (const auto& item : report.expected) {
        if (item.tried && !item.used) {
            out << "\nthe waiver of " << printable(item.check) << " is no longer needed: nothing like it fails\n";
        }
    }
}

void print_verdicts(const Report& report, std::ostream& out) {
    out << "\n";
    for (const auto& verdict : report.verdicts) {
        const std::string answer = verdict.answer == Usable::unless ? "yes, unless" : name_of(verdict.answer);
        bool first = true;
        for (const auto& line : wrap(printable(answer + (verdict.reason.empty() ? "" : (verdict.answer == Usable::unless ?
                                     " " : ": ") + verdict.reason)), width - 30)) {
            out << (first && verdict.judged ? "* " : "  ") << std::left << std::setw(28) << (first ? verdict.title : "")
                << line << "\n";
            first = false;
        }
    }
}

/// Names those that keep the file from passing, or else all that were judged.
std::string summary(const Report& report) {
    const bool passed = report.passed();
    std::vector<std::string> who;
    std::vector<std::string> untried;
    for (const auto& verdict : report.verdicts) {
        // With a part of the checks, no engine's calls need to be among them.
        if (verdict.judged && passed && verdict.answer == Usable::untried && report.only.empty()) {
            untried.push_back(verdict.title);
        } else if (verdict.judged && (passed || verdict.answer != Usable::yes)) {
            who.push_back(verdict.title);
        }
    }
    if (who.empty() && untried.empty()) {
        return "nothing was checked";
    }
    std::string first;
    if (report.model.has_value() && !report.model->potential) {
        const auto& targets = report.model->targets;
        first = "not a potential: " + (targets.empty() ? "nothing" : printable(joined(targets))) + " checked; ";
    }
    if (!passed) {
        return first + "do not use this file with " + joined(who);
    }
    const std::string good = who.empty() ? "" : "good for " + joined(who);
    const std::string rest = untried.empty() ? "" : "untried with " + joined(untried);
    return first + good + (good.empty() || rest.empty() ? "" : "; ") + rest;
}

}  // namespace

void print(const Report& report, std::ostream& stream) {
    std::ostringstream out;
    out << "mtt-verify " << report.program_version << " (torch " << report.torch << ", metatensor-torch "
        << report.metatensor_torch << ", metatomic-torch " << report.metatomic_torch << ")\n";
    for (const auto& line : wrap("file " + printable(report.path), width)) {
        out << line << "\n";
    }
    if (report.model.has_value()) {
        const auto& model = report.model->capabilities;
        out << "model " << (model.name.empty() ? "without a name" : printable(model.name)) << ", " << printable(model.dtype) << ", "
            << model.atomic_types.size() << " atomic types, interaction range "
            << short_number(model.interaction_range) << " " << printable(model.length_unit) << ", energy in "
            << printable(model.energy_unit) << "\n";
    }
    if (const auto weak = weakness(report.isolation); !weak.empty()) {
        for (const auto& line : wrap(weak, width)) {
            out << line << "\n";
        }
    }
    out << "\n" << std::left << std::setw(8) << "family" << std::setw(38) << "check" << std::setw(8) << "" << std::right
        << std::setw(12) << "measured" << std::setw(12) << "allowed" << "  unit\n";
    size_t counts[4] = {0, 0, 0, 0};
    for (const auto& entry : report.entries) {
        const auto& result = entry.result;
        ++counts[size_t(result.status)];
        out << std::left << std::setw(8) << entry.family << std::setw(38) << (result.target.empty() ? result.name : result.name + " of " + printable(result.target))
            << std::setw(8) << label(result.status) << std::right << std::setw(12) << optional_number(result.measured)
            << std::setw(12) << optional_number(result.tolerance)
            << (result.measured.has_value() ? "  " + printable(result.unit) : "") << "\n";
        if (result.status != Status::pass) {
            for (const auto& line : wrap(printable(result.message), width - 10)) {
                out << std::string(10, ' ') << line << "\n";
            }
        }
    }
    print_findings(report, out);
    print_verdicts(report, out);
    out << "\n" << counts[0] << " passed, " << counts[1] << " failed, " << counts[2] << " skipped"
        << (counts[3] > 0 ? ", " + std::to_string(counts[3]) + " waived" : "") << " in " << std::fixed
        << std::setprecision(1) << report.seconds << " s: "
        << summary(report) << "\n";
    stream << without_commands(out.str());
}

}  // namespace mtt
