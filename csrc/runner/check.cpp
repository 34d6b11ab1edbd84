#include "mtt/runner/check.hpp"

#include <algorithm>

#include "mtt/engines/uses.hpp"
#include "mtt/joined.hpp"
#include "mtt/model/outputs.hpp"
#include "mtt/model/torch_model.hpp"

namespace mtt {

namespace {

std::vector<Check>& registry() {
    static std::vector<Check> checks;
    return checks;
}

size_t rank_of(const std::string& family) {
    const auto& all = families();
    return size_t(std::find(all.begin(), all.end(), family) - all.begin());
}

}  // namespace

const std::vector<Family>& family_table() {
    static const std::vector<Family> all = {
        {"LOAD", "Does the file load the way an engine loads it, from metadata to the first call?"},
        {"SCHEMA", "Are outputs, units, samples, neighbor lists and declared types what engines expect?"},
        {"PARITY", "Are the values of every target those that the Python model gave in float64 when the file was made?"},
        {"NTH", "Are later calls, with sizes that change, the same as the first? TorchScript rewrites itself after a few calls.", true},
        {"FD", "Are forces and virial the derivatives of the energy, by finite differences?"},
        {"DD", "Split over 1, 2, 4 and 8 domains with ghost atoms: is the sum the whole? Is the declared interaction range enough?", true},
        {"GEO", "Isolated atoms, cells smaller than the cutoff, skewed cells, every periodicity: all handled?"},
        {"SYM", "Order of atoms, translations, two copies far apart: exactly the same? Rotations: how much do they differ?"},
        {"DTYPE", "Inputs of other layouts, leaves of either precision, Module::to once more, CUDA where there is one: the same results?"},
        {"ENGINE", "Do the very calls of each MD engine, with its units, give what a plain call gives?"},
        {"LIMITS", "Does memory grow, does time explode, do threads, other instances or the settings of the process suffer?"},
    };
    return all;
}

const std::vector<std::string>& families() {
    static const std::vector<std::string> all = [] {
        std::vector<std::string> out;
        for (const auto& family : family_table()) {
            out.emplace_back(family.name);
        }
        return out;
    }();
    return all;
}

bool is_second(const std::string& family) {
    const auto& all = family_table();
    return std::any_of(all.begin(), all.end(), [&](const Family& one) { return one.second && one.name == family; });
}

const std::vector<Level>& levels() {
    static const std::vector<Level> all = {Level::quick, Level::full, Level::soak};
    return all;
}

const char* name_of(Level level) {
    return level == Level::quick ? "quick" : (level == Level::full ? "full" : "soak");
}

const char* name_of(Status status) {
    switch (status) {
        case Status::pass: return "pass";
        case Status::fail: return "fail";
        case Status::skip: return "skip";
        case Status::waived: break;
    }
    return "waived";
}

const char* name_of(Severity severity) {
    switch (severity) {
        case Severity::wrong: return "wrong numbers";
        case Severity::stops: return "stops";
        case Severity::refuses: return "refuses";
        case Severity::costs: return "costs";
        case Severity::cosmetic: break;
    }
    return "cosmetic";
}

Result Result::as(Severity how) && {
    severity = how;
    return std::move(*this);
}

Result Result::only(std::vector<std::string> whom) && {
    matters = std::move(whom);
    return std::move(*this);
}

Result Result::when(std::string circumstances) && {
    unless = std::move(circumstances);
    return std::move(*this);
}

Result Result::because(std::string key) && {
    cause = std::move(key);
    return std::move(*this);
}

bool Check::fits(const Target& target) const {
    switch (about) {
        case About::energy: return target.gradients;
        case About::engine_energy: return target.gradients && is_energy(target.name);
        case About::values: return !target.gradients;
        case About::uncertainty: return target.is_uncertainty() || target.is_ensemble();
        case About::file:
        case About::picked: break;
    }
    return true;
}

std::vector<std::string> Check::uses() const {
    if (!matters.empty()) {
        return uses_named(matters);
    }
    switch (about) {
        case About::file:
        case About::picked: return uses_named("all");
        case About::uncertainty:
        case About::values: return uses_with(&Use::other_outputs);
        case About::energy:
        case About::engine_energy: break;
    }
    return uses_with(&Use::runs_md);
}

Registered::Registered(Check check, About about) {
    check.about = about;
    registry().push_back(std::move(check));
}

const std::vector<Check>& catalogue() {
    // Static objects register in any order; the report must not depend on it.
    static const std::vector<Check> sorted = [] {
        auto out = registry();
        std::sort(out.begin(), out.end(), [](const Check& a, const Check& b) {
            const auto left = rank_of(a.family);
            const auto right = rank_of(b.family);
            return left != right ? left < right : a.name < b.name;
        });
        return out;
    }();
    return sorted;
}

Result passed(std::string name, std::string message) {
    Result out;
    out.name = std::move(name);
    out.message = std::move(message);
    return out;
}

Result failed(std::string name, std::string message) {
    Result out = passed(std::move(name), std::move(message));
    out.status = Status::fail;
    return out;
}

Result failed(std::string name, std::string message, const std::exception& error) {
    Result out = failed(std::move(name), message + ": " + explain(error));
    out.error = explain(error);
    if (const auto* call = dynamic_cast<const CallFailed*>(&error); call != nullptr && !call->systems().empty()) {
        out.failing = call->systems();
        out.kinds = call->kinds();
        out.message += " (" + (call->systems()[0].empty() ? "" : call->systems()[0] + ", ") + call->kinds()[0] +
                       (call->systems().size() > 1 ? " and others)" : ")");
    }
    out.details = error.what() == out.error ? "" : error.what();
    return out;
}

Result skipped(std::string name, std::string why) {
    Result out = passed(std::move(name), std::move(why));
    out.status = Status::skip;
    return out;
}

Result guarded(const std::string& name, const std::function<Result()>& body) {
    try {
        return body();
    } catch (const std::exception& error) {
        return failed(name, "the model fails", error).as(Severity::stops);
    }
}

void attempt(Comparison& comparison, const System& system, const std::function<void()>& body) {
    comparison.in(system);
    try {
        body();
    } catch (const std::exception& error) {
        comparison.fails(explain(error), error.what());
    }
}

Result judged(std::string name, const Comparison& comparison, const std::string& unit, const std::string& consequence) {
    if (comparison.empty()) {
        return skipped(std::move(name), "there was nothing to compare");
    }
    Result out;
    out.name = std::move(name);
    out.measured = comparison.measured();
    out.tolerance = comparison.tolerance();
    out.unit = unit;
    out.status = comparison.passed() ? Status::pass : Status::fail;
    out.failing = comparison.failing();
    out.unless = comparison.circumstances();
    out.kinds = comparison.failing_kinds();
    if (comparison.passed()) {
        out.message = "largest difference: " + comparison.where();
        return out;
    }
    std::string where = out.unless;
    std::string what = consequence;
    if (comparison.not_finite()) {
        what = "energy, forces or virial are no numbers";
        out.cause = "not finite";
        out.severity = Severity::stops;
    }
    if (!comparison.error().empty()) {
        what = "the model fails: " + comparison.error();
        out.error = comparison.error();
        out.details = comparison.details() == out.error ? "" : comparison.details();
        out.severity = Severity::stops;
        out.measured.reset();
        out.tolerance.reset();
    }
    if (where.empty() && comparison.others_pass()) {
        where = joined(out.failing);
    }
    out.message = what + (where.empty() ? "" : "; only for " + where + ", others pass") +
                  (comparison.error().empty() ? "; worst: " + comparison.where() : "");
    return out;
}

}  // namespace mtt
