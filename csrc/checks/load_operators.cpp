// LOAD: what the code of the file would call, and the objects in it, before anything of the file is loaded.
#include "mtt/model/operators.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

constexpr size_t most_listed = 10;

std::string listed(const std::vector<Foreign>& foreign) {
    std::string out = std::to_string(foreign.size()) + (foreign.size() == 1 ? " thing" : " things") +
                      " that models do not need and that could harm: ";
    for (size_t k = 0; k < foreign.size() && k < most_listed; ++k) {
        out += (k > 0 ? "; " : "") + describe(foreign[k]);
    }
    return out + (foreign.size() > most_listed ? "; and more" : "") +
           ". TorchScript is native code, so the model is not run; what you vouch for, name with --allow-operator";
}

std::vector<Result> run(Context& context) {
    const auto* archive = context.archive();
    if (archive == nullptr || archive->kind() != FileKind::metatomic) {
        return {skipped("operators", "there is no model code to read")};
    }
    const auto& allowed = context.allowed_operators();
    const auto foreign = context.host().foreign();
    if (!foreign.empty()) {
        return {failed("operators", listed(foreign))};
    }
    std::string names;
    for (const auto& name : allowed) {
        names += (names.empty() ? "allowed beside the list: " : ", ") + name;
    }
    return {passed("operators", names)};
}

const Registered check({
    "LOAD", "operators",
    "The code of the file uses operators and classes of a list of harmless ones only, and its tensors lie within their "
    "records. Read before anything of the file is loaded.",
    "exact",
    {"operators"}, run, Level::quick, {}, About::file, Severity::refuses,
}, About::file);

}  // namespace

}  // namespace mtt
