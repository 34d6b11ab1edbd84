#include "mtt/verify.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "mtt/context.hpp"
#include "mtt/engine.hpp"

namespace mtt {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

void require_known(const std::vector<std::string>& names) {
    for (const auto& name : names) {
        if (std::find(families().begin(), families().end(), name) == families().end()) {
            throw std::invalid_argument("there is no family '" + name + "'");
        }
    }
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<Result> run_check(const Check& check, Context& context) {
    const auto start = Clock::now();
    std::vector<Result> results;
    try {
        results = check.run(context);
    } catch (const std::exception& error) {
        results = {failed(check.results.front(), "the model fails: " + explain(error))};
    } catch (...) {
        results = {failed(check.results.front(), "the model throws something that is no std::exception")};
    }
    // Results of one check are found together; its time is divided among them.
    for (auto& result : results) {
        result.seconds = seconds_since(start) / double(results.size());
    }
    return results;
}

/// Loads the model for families that call it; says why not otherwise.
std::string loading_problem(Context& context) {
    if (context.archive()->kind() != FileKind::metatomic) {
        return "this file is " + describe(context.archive()->kind());
    }
    try {
        context.model();
        return "";
    } catch (const std::exception& error) {
        return "an engine can not load the model: " + explain(error);
    } catch (...) {
        return "an engine can not load the model";
    }
}

}  // namespace

Report verify(const VerifyOptions& options) {
    require_known(options.only);
    require_known(options.skip);
    const auto start = Clock::now();
    const auto session = prepare_torch(options.threads);
    const auto archive = std::make_shared<const Archive>(options.path);
    Context context(
        [&options] { return load_model(options.path, options.extensions); }, archive, options.extensions
    );
    Report report;
    report.program_version = MTT_VERSION;
    const auto versions = library_versions();
    report.torch = versions.torch;
    report.metatensor_torch = versions.metatensor_torch;
    report.metatomic_torch = versions.metatomic_torch;
    report.path = options.path;
    report.sha256 = archive->sha256();
    report.bytes = archive->bytes();

    std::optional<std::string> problem;
    bool load_reported = false;
    for (const auto& check : catalogue()) {
        if ((!options.only.empty() && !contains(options.only, check.family)) || contains(options.skip, check.family)) {
            continue;
        }
        if (options.progress) {
            options.progress(check.family, check.name);
        }
        if (check.family == "LOAD") {
            load_reported = true;
        } else if (!problem.has_value()) {
            problem = loading_problem(context);
            if (!problem->empty() && !load_reported) {
                report.entries.push_back({"LOAD", failed("model", *problem)});
            }
        }
        if (check.family != "LOAD" && !problem->empty()) {
            for (const auto& name : check.results) {
                report.entries.push_back({check.family, skipped(name, "the model could not be loaded")});
            }
            continue;
        }
        for (auto& result : run_check(check, context)) {
            report.entries.push_back({check.family, std::move(result)});
        }
    }
    if (loading_problem(context).empty()) {
        report.model = context.capabilities();
        report.golden_pack = context.golden() != nullptr;
    }
    report.seconds = seconds_since(start);
    return report;
}

}  // namespace mtt
