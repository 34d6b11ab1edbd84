// The bytes of a file for libtorch's reader, without a copy. Only files that see libtorch include this.
#pragma once

#include <caffe2/serialize/read_adapter_interface.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

namespace mtt {

class MemoryAdapter final : public caffe2::serialize::ReadAdapterInterface {
public:
    explicit MemoryAdapter(std::shared_ptr<const std::string> content): content_(std::move(content)) {}
    [[nodiscard]] size_t size() const override { return content_->size(); }
    size_t read(uint64_t pos, void* buf, size_t n, const char* /*what*/) const override {
        if (pos >= content_->size()) {
            return 0;
        }
        const size_t count = std::min(n, content_->size() - size_t(pos));
        std::memcpy(buf, content_->data() + pos, count);
        return count;
    }

private:
    std::shared_ptr<const std::string> content_;
};

}  // namespace mtt
