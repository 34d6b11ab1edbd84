// SCHEMA: the records that mtt adds on export: where the model comes from, and the golden pack.
#include <nlohmann/json.hpp>

#include <algorithm>

#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

std::vector<Result> run(Context& context) {
    const auto* archive = context.archive();
    const bool golden = archive != nullptr && archive->has(golden_record);
    const bool provenance = archive != nullptr && archive->has(provenance_record);
    if (!golden && !provenance) {
        return {skipped("golden pack", "the file was not exported by mtt: it carries no reference values")};
    }
    std::vector<Result> out;
    if (!provenance) {
        out.push_back(failed("provenance", "the record about the origin of the model is missing"));
    } else {
        const auto parsed = nlohmann::json::parse(archive->read(provenance_record), nullptr, false);
        out.push_back(
            parsed.is_object() ? passed("provenance") : failed("provenance", "the record about the origin is not JSON")
        );
    }
    if (!golden) {
        out.push_back(failed("golden pack", "the golden pack is missing: nobody can verify this file again"));
    } else if (context.golden() == nullptr) {
        out.push_back(failed("golden pack", context.golden_error()));
    } else if (context.golden()->systems.empty()) {
        out.push_back(failed("golden pack", "the golden pack holds no systems"));
    } else {
        for (const auto& item : context.golden()->targets) {
            const auto& outputs = context.capabilities().outputs;
            const auto same = [&](const OutputInfo& output) { return output.name == item.target.name; };
            if (context.golden()->format > 1 && std::none_of(outputs.begin(), outputs.end(), same)) {
                out.push_back(failed("golden pack", "the model was trained on '" + item.target.name +
                                     "' and has no output of that name"));
                return out;
            }
        }
        out.push_back(passed("golden pack", std::to_string(context.golden()->systems.size()) + " systems"));
    }
    return out;
}

const Registered check({
    "SCHEMA", "records", "Provenance and golden pack are there and can be read.", "exact",
    {"provenance", "golden pack"}, run, Level::quick, {}, About::file, Severity::refuses,
}, About::file);

}  // namespace

}  // namespace mtt
