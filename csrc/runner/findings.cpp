// One thing that is wrong makes many checks fail. The rules here say which failures are signs of which cause.
#include <algorithm>
#include <map>
#include <set>

#include "mtt/engines/uses.hpp"
#include "mtt/joined.hpp"
#include "mtt/runner/verdicts.hpp"

namespace mtt {

namespace {

/// By FAMILY/name of a result.
const std::map<std::string, std::string>& briefs() {
    static const std::map<std::string, std::string> all = {
        {"LOAD/operators", "uses operators that no model needs"},
        {"LOAD/file", "damaged or unusual archive"},
        {"LOAD/checksums", "damaged archive"},
        {"LOAD/metadata", "damaged metadata"},
        {"LOAD/devices in code", "a device is fixed in its code"},
        {"LOAD/extensions", "its extensions are missing"},
        {"LOAD/model", "cannot be loaded"},
        {"SCHEMA/inputs", "asks for inputs that the engine does not give"},
        {"SCHEMA/devices", "does not run on CPUs"},
        {"SCHEMA/interaction range", "the interaction range does not allow it"},
        {"SCHEMA/evaluation mode", "exported in training mode"},
        {"SCHEMA/rank without atoms", "no row of zero without selected atoms"},
        {"SCHEMA/rank without atoms (per-atom energies)", "rows without selected atoms"},
        {"SCHEMA/rank without atoms and ghosts", "fails without atoms"},
        {"SCHEMA/energy", "no energy that it can ask for"},
        {"SCHEMA/atomic types", "a declared atomic type does not work"},
        {"SCHEMA/units", "units are missing or wrong"},
        {"SCHEMA/output", "the energy has another layout than engines read"},
        {"SCHEMA/per-atom output", "per-atom energies have another layout than engines read"},
        {"SCHEMA/selected atoms", "selected atoms are ignored"},
        {"SCHEMA/rows belong to atoms", "rows are labeled with the wrong atoms"},
        {"SCHEMA/provenance", "its record of where it comes from is damaged"},
        {"SCHEMA/golden pack", "its golden pack is damaged"},
        {"SCHEMA/call styles", "other ways to call give other results"},
        {"SCHEMA/engine units", "other units give other physics"},
        {"SCHEMA/unknown atomic type", "computes elements that it does not know"},
        {"SCHEMA/values", "an output has another layout than declared"},
        {"SCHEMA/values of selected atoms", "selected atoms are ignored"},
        {"SCHEMA/unit of values", "the unit of an output is missing or wrong"},
        {"SCHEMA/uncertainty", "an uncertainty or an ensemble tells nothing"},
        {"SCHEMA/energy output", "no energy that it can ask for"},
        {"SCHEMA/variants", "cannot use variants of the energy"},
        {"SCHEMA/given units", "the file declares other units"},
        {"PARITY/energy", "not the energies that were exported"},
        {"PARITY/atomic energies", "not the energies of atoms that were exported"},
        {"PARITY/forces", "not the forces that were exported"},
        {"PARITY/virial", "not the virial that was exported"},
        {"PARITY/reference", "the reference of another machine does not fit"},
        {"PARITY/recorded", "not the values that were recorded"},
        {"PARITY/recorded energy", "not the energies that were recorded"},
        {"PARITY/recorded atomic energies", "not the energies of atoms that were recorded"},
        {"PARITY/recorded forces", "not the forces that were recorded"},
        {"PARITY/recorded virial", "not the virial that was recorded"},
        {"PARITY/units", "the golden pack has other units"},
        {"PARITY/values", "not the values that were exported"},
        {"NTH/repeated calls", "later calls differ from the first"},
        {"NTH/varying systems", "later calls with other systems differ"},
        {"NTH/inputs unchanged", "changes the inputs of the engine"},
        {"NTH/random numbers", "depends on random numbers"},
        {"NTH/executors", "depends on TorchScript's executor"},
        {"NTH/values", "later calls differ from the first"},
        {"FD/forces", "forces are not derivatives of the energy"},
        {"FD/virial", "the virial is not the derivative of the energy"},
        {"DD/after re-decomposition", "remembers earlier domains"},
        {"DD/energy", "domains do not add up"},
        {"DD/atomic energies", "domains do not add up"},
        {"DD/forces", "domains do not add up"},
        {"DD/virial", "domains do not add up"},
        {"DD/values", "domains do not add up"},
        {"DD/empty selection", "a rank without atoms does not give zero"},
        {"DD/pairs beyond the cutoff", "pairs in the skin count"},
        {"DD/receptive field", "atoms beyond the interaction range matter"},
        {"GEO/smoothness", "jumps at the cutoff"},
        {"GEO/isolated atom", "isolated atoms are wrong"},
        {"GEO/atoms without neighbors", "atoms without neighbors are wrong"},
        {"GEO/close atoms", "close atoms give no number"},
        {"GEO/cells", "the choice of the cell matters"},
        {"GEO/periodicity", "periodic directions are wrong"},
        {"GEO/values", "isolated atoms are wrong"},
        {"GEO/values without atoms", "fails without atoms"},
        {"SYM/permutation", "the order of atoms matters"},
        {"SYM/pair order", "the order of pairs matters"},
        {"SYM/translation", "the place of the system matters"},
        {"SYM/wrapping", "wrapping of atoms matters"},
        {"SYM/extensivity", "two copies are not twice one"},
        {"SYM/batch", "other systems in a batch matter"},
        {"SYM/rotation", "rotations change more than allowed"},
        {"SYM/values", "order or place of atoms matters"},
        {"SYM/rotation of values", "an output does not turn with the system"},
        {"DTYPE/module moves", "Module::to changes it"},
        {"DTYPE/CUDA", "other results on CUDA"},
        {"DTYPE/strided inputs", "the layout of inputs in memory matters"},
        {"DTYPE/whole numbers", "whole numbers change in precision"},
        {"DTYPE/inputs of another precision", "inputs of another precision pass"},
        {"DTYPE/values", "the layout of inputs matters"},
        {"ENGINE/ase", "its calls give something else"},
        {"ENGINE/ipi", "its calls give something else"},
        {"ENGINE/torch-sim", "its calls give something else"},
        {"ENGINE/lammps", "its calls give something else"},
        {"ENGINE/gromacs", "its calls give something else"},
        {"ENGINE/plumed", "its calls give something else"},
        {"ENGINE/eon", "its calls give something else"},
        {"ENGINE/lammps:fix", "its calls give something else"},
        {"ENGINE/lammps:compute", "its calls give something else"},
        {"LIMITS/memory per call", "leaks memory in every call"},
        {"LIMITS/memory per reload", "leaks memory when loaded again"},
        {"LIMITS/several instances", "instances influence each other"},
        {"LIMITS/concurrent instances", "concurrent instances disturb each other"},
        {"LIMITS/threads", "the number of threads matters"},
        {"LIMITS/time per call", "calls take ever longer"},
        {"LIMITS/scaling", "time explodes with the number of atoms"},
        {"LIMITS/spoiled instance", "is changed by a call, and gives other results from then on"},
        {"LIMITS/global state", "changes settings of the process"},
        {"LIMITS/floating-point exceptions", "floating-point exceptions end a strict engine"},
    };
    return all;
}

/// Failures that are signs of one cause, the check that says most about it first.
struct Rule {
    const char* root;
    /// FAMILY/name, or a family.
    std::vector<std::string> signs;
    /// Of these, the results of other targets are signs too: they have the range of the file.
    std::string for_all_targets = "";
};

const std::vector<Rule>& rules() {
    static const std::vector<Rule> all = {
        {"LOAD/operators", {"LOAD"}},
        {"LOAD/file", {"LOAD"}},
        {"LOAD/checksums", {"LOAD"}},
        {"LOAD/metadata", {"LOAD/model"}},
        {"LOAD/extensions", {"LOAD/model"}},
        {"SCHEMA/units", {"ENGINE", "SCHEMA/engine units"}},
        {"SCHEMA/variants", {"ENGINE/gromacs"}},
        {"SCHEMA/selected atoms", {"DD", "SCHEMA/rows belong to atoms", "SCHEMA/rank without atoms",
                                   "SCHEMA/rank without atoms (per-atom energies)", "ENGINE/lammps", "ENGINE/gromacs"}},
        {"SCHEMA/rank without atoms", {"SCHEMA/rank without atoms (per-atom energies)", "DD/empty selection",
                                       "SCHEMA/rank without atoms and ghosts"}},
        {"SCHEMA/values of selected atoms", {"DD/values"}},
        {"DD/receptive field", {"DD/energy", "DD/atomic energies", "DD/forces", "DD/virial", "DD/values",
                                "DD/after re-decomposition"}, "DD/values"},
        {"DD/energy", {"DD/atomic energies", "DD/forces", "DD/virial"}},
        {"DD/forces", {"DD/virial"}},
        {"NTH/repeated calls", {"NTH"}},
        {"NTH/random numbers", {"NTH"}},
        {"PARITY/energy", {"PARITY/atomic energies", "PARITY/forces", "PARITY/virial", "PARITY/units"}},
        {"PARITY/atomic energies", {"PARITY/forces", "PARITY/virial"}},
        {"PARITY/forces", {"PARITY/virial"}},
        {"PARITY/recorded energy", {"PARITY/recorded atomic energies", "PARITY/recorded forces", "PARITY/recorded virial"}},
        {"FD/forces", {"FD/virial"}},
        {"LIMITS/memory per call", {"LIMITS/memory per reload"}},
    };
    return all;
}

/// What the keys of Result::cause stand for.
const std::map<std::string, std::string>& causes() {
    static const std::map<std::string, std::string> all = {
        {"range", "atoms beyond the interaction range matter"},
        {"no energy", "no energy that it can ask for"},
        {"not finite", "energy or forces are not finite"},
        {"inputs", "asks for inputs that the engine does not give"},
    };
    return all;
}

std::string full_name(const ReportEntry& entry) { return entry.family + "/" + entry.result.name; }

bool matches(const std::string& pattern, const ReportEntry& entry) {
    return pattern == entry.family || pattern == full_name(entry);
}

/// Errors differ in numbers only where they are about the same thing.
std::string without_digits(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c < '0' || c > '9') {
            out += c;
        }
    }
    return out;
}

/// What failures have in common that are one finding before any rule.
std::string key_of(const ReportEntry& entry, size_t index) {
    const auto& result = entry.result;
    if (!result.cause.empty()) {
        return "cause " + result.cause + " of " + result.target;
    }
    if (!result.error.empty()) {
        return "error " + without_digits(result.error);
    }
    if (!result.unless.empty() && !result.failing.empty()) {
        return "only " + result.unless + " of " + result.target;  // a slab goes wrong in whatever looks at slabs
    }
    return "entry " + std::to_string(index);
}

/// Whether two results can have one cause: the same target, or one is about the whole file.
bool related(const ReportEntry& a, const ReportEntry& b) {
    return a.result.target == b.result.target || a.result.target.empty() || b.result.target.empty();
}

struct Group {
    std::vector<size_t> entries;
    /// Its first entry is the root of a rule, and stays the first.
    bool ruled = false;
};
using Groups = std::vector<Group>;

Groups grouped(const Report& report) {
    Groups out;
    std::map<std::string, size_t> places;
    for (size_t k = 0; k < report.entries.size(); ++k) {
        const auto& entry = report.entries[k];
        const bool expected = entry.result.status == Status::waived && !entry.expected_for.empty();
        if (entry.result.status != Status::fail && !expected) {
            continue;
        }
        // What is expected must not hide what is not.
        const auto key = (expected ? "expected " : "") + key_of(entry, k);
        const auto place = places.emplace(key, out.size());
        if (place.second) {
            out.emplace_back();
        }
        out[place.first->second].entries.push_back(k);
    }
    return out;
}

void apply(const Rule& rule, const Report& report, Groups& groups) {
    const auto is_root = [&](size_t k) { return full_name(report.entries[k]) == rule.root; };
    for (size_t g = 0; g < groups.size(); ++g) {
        auto& members = groups[g].entries;
        const auto root = std::find_if(members.begin(), members.end(), is_root);
        if (root == members.end() || (groups[g].ruled && root != members.begin())) {
            continue;
        }
        const size_t head = *root;
        std::rotate(members.begin(), root, root + 1);
        groups[g].ruled = true;
        const auto is_sign = [&](size_t k) {
            const auto& entry = report.entries[k];
            return entry.result.status == report.entries[head].result.status &&
                   (related(entry, report.entries[head]) || full_name(entry) == rule.for_all_targets) &&
                   std::any_of(rule.signs.begin(), rule.signs.end(), [&](const auto& sign) { return matches(sign, entry); });
        };
        for (size_t other = 0; other < groups.size(); ++other) {
            auto& signs = groups[other].entries;
            if (other != g && !signs.empty() && std::all_of(signs.begin(), signs.end(), is_sign)) {
                members.insert(members.end(), signs.begin(), signs.end());
                signs.clear();
            }
        }
    }
    std::erase_if(groups, [](const auto& group) { return group.entries.empty(); });
}

template <typename T>
void add_new(std::vector<T>& to, const std::vector<T>& from) {
    for (const auto& item : from) {
        if (std::find(to.begin(), to.end(), item) == to.end()) {
            to.push_back(item);
        }
    }
}

}  // namespace

std::string brief_of(const ReportEntry& entry) {
    const auto cause = causes().find(entry.result.cause);
    if (cause != causes().end()) {
        return cause->second;
    }
    if (entry.family == "ENGINE" && entry.severity == Severity::refuses) {
        return entry.result.message.substr(0, entry.result.message.find(','));
    }
    if (!entry.result.error.empty()) {
        constexpr size_t few = 70;
        const auto& error = entry.result.error;
        return "fails: " + (error.size() > few ? error.substr(0, few) + " ..." : error);
    }
    const auto brief = briefs().find(full_name(entry));
    return brief != briefs().end() ? brief->second : full_name(entry) + " fails";
}

namespace {

/// Whether all that failed is what the circumstances say: "slabs (pbc TTF)", "tilted cells".
bool covers(const std::string& circumstances, const std::vector<std::string>& kinds) {
    return !kinds.empty() && std::all_of(kinds.begin(), kinds.end(), [&](const std::string& kind) {
        return circumstances == "tilted cells" ? kind.find("tilted") != std::string::npos
                                               : circumstances.find(kind.substr(4, 3)) != std::string::npos;
    });
}

/// A check that looks at slabs only cannot know that the same goes well elsewhere; another one with this cause does.
void spread_circumstances(Report& report, const std::vector<size_t>& group) {
    for (const size_t k : group) {
        const std::string known = report.entries[k].result.unless;
        for (const size_t other : group) {
            auto& result = report.entries[other].result;
            // The longer one names more kinds of systems.
            if (known.size() > result.unless.size() && covers(known, result.kinds)) {
                result.unless = known;
            }
        }
    }
}

Finding finding_of(const Report& report, const std::vector<size_t>& group) {
    Finding out;
    out.entries = group;
    const auto& head = report.entries[group.front()];
    out.cause = head.result.message;
    out.brief = brief_of(head);
    out.target = head.result.target;
    out.severity = head.severity;
    std::vector<std::string> circumstances;
    bool always = false;
    std::set<std::string> affected;
    for (const size_t k : group) {
        const auto& entry = report.entries[k];
        out.severity = std::min(out.severity, entry.severity);
        affected.insert(entry.uses.begin(), entry.uses.end());
        add_new(out.systems, entry.result.failing.empty() ? entry.result.systems : entry.result.failing);
        always = always || entry.result.unless.empty();
        add_new(circumstances, {entry.result.unless});
        out.waived = entry.result.status == Status::waived;
        out.reason = out.waived ? entry.result.waived_because : "";
    }
    for (const auto& use : uses()) {
        if (affected.count(use.id) > 0) {
            out.uses.emplace_back(use.id);
        }
    }
    out.unless = always ? "" : joined(circumstances, ", or ");
    return out;
}

}  // namespace

void spread_circumstances(Report& report) {
    for (const auto& group : grouped(report)) {
        spread_circumstances(report, group.entries);
    }
}

std::vector<Finding> findings_of(const Report& report) {
    auto groups = grouped(report);
    for (const auto& rule : rules()) {
        apply(rule, report, groups);
    }
    std::vector<Finding> out;
    for (const auto& group : groups) {
        out.push_back(finding_of(report, group.entries));
    }
    std::stable_sort(out.begin(), out.end(), [](const Finding& a, const Finding& b) {
        return a.waived != b.waived ? b.waived : a.severity < b.severity;
    });
    return out;
}

std::vector<std::string> names_in_tables() {
    std::vector<std::string> out;
    for (const auto& item : briefs()) {
        out.push_back(item.first);
    }
    for (const auto& rule : rules()) {
        out.emplace_back(rule.root);
        out.insert(out.end(), rule.signs.begin(), rule.signs.end());
    }
    return out;
}

}  // namespace mtt
