#include "mtt/runner/runner.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <sstream>

#include <nlohmann/json.hpp>

#include "mtt/engines/uses.hpp"
#include "mtt/model/outputs.hpp"
#include "mtt/model/torch_model.hpp"
#include "mtt/runner/clock.hpp"

namespace mtt {

namespace {


std::vector<Result> run_guarded(const Check& check, Context& context) {
    try {
        return check.run(context);
    } catch (const std::bad_alloc&) {
        return {failed(check.results.front(), "the model asks for more memory than there is: bad_alloc").as(Severity::stops)};
    } catch (const std::exception& error) {
        return {failed(check.results.front(), "the model fails", error).as(Severity::stops)};
    } catch (const StrangeException&) {
        return {failed(check.results.front(), "the model throws something that is no std::exception").as(Severity::stops)};
    }
}

Extension extension_of(const nlohmann::json& declared, const std::optional<std::string>& folder) {
    namespace fs = std::filesystem;
    Extension out;
    out.name = declared.is_object() ? declared.value("name", "?") : declared.dump();
    const std::string path = declared.is_object() ? declared.value("path", "") : "";
    for (const auto& candidate : {folder.has_value() ? fs::path(*folder) / path : fs::path(path), fs::path(path)}) {
        std::ifstream file(candidate, std::ios::binary);
        std::ostringstream content;
        if (fs::is_regular_file(candidate) && content << file.rdbuf()) {
            out.sha256 = sha256_hex(content.str());
            break;
        }
    }
    return out;
}

}  // namespace

Runner::Runner(const VerifyOptions& options, std::shared_ptr<Host> host):
    host_(std::move(host)), extensions_(options.extensions), memory_limit_(options.memory_limit),
    context_(host_, options.extensions) {
    context_.allow_operators(options.allowed_operators);
    context_.set_mode({options.level, options.variant, options.length_unit, options.energy_unit, options.against,
                       options.record, options.max_rotation_error, options.seed.value_or(0)});
}

void Runner::try_loading() {
    if (problem_.has_value()) {
        return;
    }
    problem_ = "";
    const auto archive = host_->archive();
    if (archive != nullptr && archive->kind() != FileKind::metatomic) {
        problem_ = "this file is " + describe(archive->kind());
        return;
    }
    try {
        context_.model();
    } catch (const std::exception& error) {
        problem_ = "an engine can not load the model: " + explain(error);
    } catch (const StrangeException&) {
        problem_ = "an engine can not load the model";
    }
}

void Runner::name_memory_limit(Result& result) const {
    if (memory_limit_ > 0 && speaks_of_memory(result.message)) {
        result.message += " (the memory limit is " + std::to_string(memory_limit_ >> 20) + " MB)";
    }
}

std::vector<Result> Runner::run(const Selected& selected) {
    const auto& check = *selected.check;
    const auto skip_all = [&](const std::string& why) {
        std::vector<Result> out;
        for (const auto& name : selected.wanted) {
            out.push_back(skipped(name, why));
        }
        return out;
    };
    if (check.family != "LOAD") {
        try_loading();
        if (!problem_->empty()) {
            return skip_all(not_loaded);
        }
    }
    if (check.about == About::file) {
        return wanted_results(selected, "");
    }
    const auto targets = context_.targets();
    const bool of_energies = check.about == About::energy || check.about == About::engine_energy;
    if (of_energies && !context_.has_energy()) {
        return skip_all("the model has no energy");
    }
    if (check.about == About::picked) {
        if (targets.empty()) {
            return skip_all("the model has no outputs");
        }
        const auto energy = std::find_if(targets.begin(), targets.end(), [](const Target& one) { return one.gradients; });
        context_.use(energy == targets.end() ? targets.front() : *energy);
        return wanted_results(selected, "");
    }
    std::vector<Result> out;
    for (const auto& target : targets) {
        if (check.fits(target)) {
            context_.use(target);
            const std::string shown = targets.size() > 1 ? target.name : "";
            if (on_target_ && !shown.empty()) {
                on_target_(shown);
            }
            auto results = wanted_results(selected, shown);
            std::move(results.begin(), results.end(), std::back_inserter(out));
        }
    }
    if (!targets.empty()) {
        context_.use(targets.front());
    }
    return out.empty() && selected.named ? skip_all("the model has no target that this check is about") : out;
}

std::vector<Result> Runner::wanted_results(const Selected& selected, const std::string& target) {
    const auto start = Clock::now();
    std::vector<Result> out;
    for (auto& result : run_guarded(*selected.check, context_)) {
        name_memory_limit(result);
        const auto& wanted = selected.wanted;
        if (std::find(wanted.begin(), wanted.end(), result.name) != wanted.end()) {
            if (result.target.empty()) {
                result.target = target;
            }
            out.push_back(std::move(result));
        }
    }
    // One call of a check gives several results; its time is divided among them.
    for (auto& result : out) {
        result.seconds = seconds_since(start) / double(out.size());
    }
    return out;
}

void Runner::describe_file(Report& report) const {
    const auto versions = library_versions();
    report.torch = versions.torch;
    report.metatensor_torch = versions.metatensor_torch;
    report.metatomic_torch = versions.metatomic_torch;
    const auto archive = host_->archive();
    report.bytes = archive->bytes();
    if (!archive->has("extra/extensions")) {
        return;
    }
    try {
        const auto declared = nlohmann::json::parse(archive->read("extra/extensions"), nullptr, false);
        if (declared.is_array()) {
            for (const auto& item : declared) {
                report.extensions.push_back(extension_of(item, extensions_));
            }
        }
    } catch (const std::exception&) {
        report.extensions.clear();  // LOAD/extensions says that the list can not be read
    }
}

void Runner::describe_model(Report& report) {
    report.calls = host_->calls();
    report.recorded = context_.recorded();
    if (!context_.has_model()) {
        return;
    }
    try {
        ReportModel model;
        model.capabilities = context_.capabilities();
        for (const auto& target : context_.targets()) {
            model.targets.push_back(target.name);
        }
        const auto& outputs = model.capabilities.outputs;
        model.potential = !first_energy(outputs).empty() || (outputs.empty() && context_.has_energy());
        if (!context_.has_energy()) {
            model.capabilities.energy_output = model.capabilities.energy_unit = model.capabilities.energy_kind = "";
        }
        for (const auto& request : context_.model().requests()) {
            model.requests.push_back({request.cutoff, request.full, request.strict});
        }
        model.receptive_field = context_.receptive_field();
        report.model = std::move(model);
        report.golden_pack = context_.golden() != nullptr;
    } catch (const std::exception&) {
        report.model.reset();  // it loaded once and does not any more; a check has said so
    }
}

bool speaks_of_memory(const std::string& message) {
    return message.find("bad_alloc") != std::string::npos || message.find("allocate memory") != std::string::npos;
}

void describe_options(const VerifyOptions& options, Report& report) {
    report.program_version = MTT_VERSION;
    report.path = options.path;
    report.level = options.level;
    report.judged = judged_uses(options);
    report.only = options.only;
    report.waivers = options.waivers;
    report.expected = options.expected;
    report.seed = options.seed.value_or(0);
    report.allowed_operators = options.allowed_operators;
    for (const auto& check : catalogue()) {
        report.checks_total += check.results.size();
    }
}

void leave_out_domains(const VerifyOptions& options, Report& report) {
    if (options.judged.empty() && report.model.has_value() && std::isinf(report.model->capabilities.interaction_range)) {
        std::erase_if(report.judged, [](const std::string& use) { return use_of(use).decomposes; });
    }
}

void add_results(const Check& check, std::vector<Result> results, Report& report) {
    for (auto& result : results) {
        const auto uses = result.matters.empty() ? check.uses() : uses_named(result.matters);
        const auto severity = result.severity.value_or(check.severity);
        report.entries.push_back({check.family, std::move(result), check.description, check.tolerance, uses, severity});
    }
}

void add_load_failure(const std::string& reason, Report& report) {
    for (const auto& entry : report.entries) {
        if (entry.family == "LOAD" && entry.result.status == Status::fail) {
            return;
        }
    }
    for (auto& entry : report.entries) {
        if (entry.family == "LOAD" && entry.result.name == "model") {
            entry.result = failed("model", reason);
            entry.severity = Severity::refuses;
            return;
        }
    }
    ReportEntry entry{"LOAD", failed("model", reason), "", "", uses_named("all"), Severity::refuses};
    for (const auto& check : catalogue()) {
        if (check.family == "LOAD" && check.name == "module") {
            entry.description = check.description;
            entry.tolerance_source = check.tolerance;
        }
    }
    report.entries.insert(report.entries.begin(), std::move(entry));
}

}  // namespace mtt
