// What the answers of an honest process have in common, and checks rely on: sizes that fit the question.
#pragma once

#include <string>
#include <vector>

#include "mtt/isolation/packing.hpp"
#include "mtt/model/model.hpp"
#include "mtt/model/predictor.hpp"

namespace mtt {

/// @throws PackingError if the condition does not hold
void demand(bool condition);
/// @throws PackingError
void check_answer(const Answer& answer, const Call& call);
/// @throws PackingError
void check_predictions(const std::vector<Prediction>& predictions, const std::vector<System>& systems,
                       const std::vector<Wanted>& wanted);

}  // namespace mtt
