// Runs checks in this process on a model that runs wherever its host is.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mtt/runner/context.hpp"
#include "mtt/runner/selection.hpp"
#include "mtt/verify.hpp"

namespace mtt {

/// Why the checks after a failed load do not run.
inline constexpr const char* not_loaded = "the model could not be loaded";

class Runner {
public:
    Runner(const VerifyOptions& options, std::shared_ptr<Host> host);

    /// Called with the name before a check runs for one target of several.
    void on_target(std::function<void(const std::string&)> callback) { on_target_ = std::move(callback); }
    /// The wanted results of one check. Nothing that the model throws gets out of here, but what hosts throw when its
    /// process ends does.
    std::vector<Result> run(const Selected& selected);
    /// The process of the model has ended: the next check loads it again.
    void forget_instances() { context_.forget_instances(); }
    /// Why the model can not be loaded; empty if it can, or if that has not been tried.
    [[nodiscard]] std::string problem() const { return problem_.value_or(""); }
    /// What is known without loading the model: versions, and what the file says.
    void describe_file(Report& report) const;
    /// What is known when all checks have run. Does not load the model.
    void describe_model(Report& report);

private:
    /// What one call of the check gives, of the target in use.
    std::vector<Result> wanted_results(const Selected& selected, const std::string& target);
    void try_loading();
    void name_memory_limit(Result& result) const;

    std::function<void(const std::string&)> on_target_;
    std::shared_ptr<Host> host_;
    std::optional<std::string> extensions_;
    uint64_t memory_limit_ = 0;
    std::optional<std::string> problem_;
    Context context_;
};

/// Whether an error message is about memory that was not to be had.
bool speaks_of_memory(const std::string& message);
/// What the caller asked for, copied into the report.
void describe_options(const VerifyOptions& options, Report& report);
/// A model that declares an infinite range is for one domain, and engines refuse it on several: unless the caller names them,
/// these are not judged. Nothing then passes that could run wrongly.
void leave_out_domains(const VerifyOptions& options, Report& report);
/// Appends what a check gave, with what it is about.
void add_results(const Check& check, std::vector<Result> results, Report& report);
/// LOAD/model failed with this reason, if no check has said so yet.
void add_load_failure(const std::string& reason, Report& report);

}  // namespace mtt
