#include "mtt/runner/selection.hpp"

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "mtt/engines/uses.hpp"

namespace mtt {

namespace {

bool contains(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

/// `pattern` is a family, FAMILY/result, or FAMILY/check, which stands for all results of that check.
bool matches(const std::string& pattern, const Check& check, const std::string& result) {
    return pattern == check.family || pattern == check.family + "/" + result ||
           pattern == check.family + "/" + check.name;
}

void require_known(const std::string& pattern) {
    const std::string family = pattern.substr(0, pattern.find('/'));
    if (!contains(families(), family)) {
        throw std::invalid_argument("there is no family '" + family + "'");
    }
    const bool any = std::any_of(catalogue().begin(), catalogue().end(), [&](const Check& check) {
        return std::any_of(check.results.begin(), check.results.end(), [&](const std::string& result) {
            return matches(pattern, check, result);
        });
    });
    if (!any && pattern != family) {
        throw std::invalid_argument("there is no check '" + pattern + "'");
    }
}

bool matters(const Check& check, const std::vector<std::string>& uses) {
    const auto own = check.uses();
    return std::any_of(own.begin(), own.end(), [&](const std::string& use) { return contains(uses, use); });
}

/// True if the caller named this very check, or the engine whose calls it makes: then the level does not matter.
bool named(const Check& check, const VerifyOptions& options) {
    if (check.family == "ENGINE" && !options.judged.empty() && matters(check, judged_uses(options))) {
        return true;
    }
    return std::any_of(options.only.begin(), options.only.end(), [&](const std::string& pattern) {
        return pattern != check.family &&
               std::any_of(check.results.begin(), check.results.end(), [&](const std::string& result) {
                   return matches(pattern, check, result);
               });
    });
}

bool applies(const Check& check, const VerifyOptions& options) {
    // By default all run: the table has a verdict for every use.
    const bool wanted = options.judged.empty() || matters(check, judged_uses(options));
    return wanted && (check.from <= options.level || named(check, options));
}

/// Whoever gives or wants a reference wants it used, whatever else is left out.
bool about_reference(const Check& check, const VerifyOptions& options) {
    return check.family == "PARITY" && check.name == "reference" && (options.against.has_value() || options.record);
}

Selected select(const Check& check, const VerifyOptions& options) {
    Selected out{&check, {}, {}, named(check, options)};
    const bool always = about_reference(check, options);
    for (const auto& result : check.results) {
        const auto asked = [&](const std::string& pattern) { return matches(pattern, check, result); };
        if (!always && !options.only.empty() && std::none_of(options.only.begin(), options.only.end(), asked)) {
            continue;
        }
        const auto waiver = std::find_if(options.waivers.begin(), options.waivers.end(), [&](const Waiver& item) {
            return matches(item.check, check, result);
        });
        if (waiver == options.waivers.end()) {
            out.wanted.push_back(result);
            continue;
        }
        Result waived = passed(result, waiver->reason.empty() ? "left out without a reason" : waiver->reason);
        waived.status = Status::waived;
        out.waived.push_back(waived);
    }
    return out;
}

}  // namespace

std::vector<std::string> judged_uses(const VerifyOptions& options) {
    return options.judged.empty() ? uses_with(&Use::runs_md) : uses_named(options.judged);
}

std::vector<Selected> select_checks(const VerifyOptions& options) {
    judged_uses(options);  // refuses names that do not exist
    std::for_each(options.only.begin(), options.only.end(), require_known);
    for (const auto& waiver : options.waivers) {
        require_known(waiver.check);
    }
    for (const auto& item : options.expected) {
        require_known(item.check);
    }
    std::vector<Selected> out;
    for (const auto& check : catalogue()) {
        if (!applies(check, options)) {
            continue;
        }
        auto selected = select(check, options);
        if (!selected.wanted.empty() || !selected.waived.empty()) {
            out.push_back(std::move(selected));
        }
    }
    return out;
}

std::vector<Waiver> parse_waivers(const std::string& text) {
    std::vector<Waiver> out;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, ',');) {
        const std::string check = part.substr(0, part.find('='));
        const bool names_check = contains(families(), check.substr(0, check.find('/')));
        if (!names_check && !out.empty() && !out.back().reason.empty()) {
            out.back().reason += "," + part;  // a comma inside a reason
        } else if (!part.empty()) {
            out.push_back({check, check.size() == part.size() ? "" : part.substr(check.size() + 1)});
        }
    }
    return out;
}

Level parse_level(const std::string& text) {
    for (const auto level : levels()) {
        if (text == name_of(level)) {
            return level;
        }
    }
    throw std::invalid_argument("there is no level '" + text + "'");
}

}  // namespace mtt
