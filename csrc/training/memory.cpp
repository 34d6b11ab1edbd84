// Memory of tensors during training: it comes in huge pages and is kept for the next step.
//
// A step writes tens of megabytes and frees them all. The C library gives much of that back to the kernel, which
// hands it out anew page by page, each of them cleared first; and with pages of 4 kB half of the accesses to a tensor
// miss the table of pages. Here memory comes in large segments, which the kernel is asked to make of huge pages.
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace mtt::training {
namespace {

#if defined(__linux__)

constexpr std::size_t HUGE_PAGE = std::size_t(1) << 21, SEGMENT = std::size_t(1) << 25;
// Blocks are multiples of this, as the vectors of a processor want it; smaller tensors are left to the C library.
constexpr std::size_t ALIGNED = 64, LEAST = 4096;

std::atomic<bool> in_use{false};

// The smallest free block that is large enough is divided, and freed blocks are joined with free neighbors.
class Pool {
public:
    void* take(std::size_t n) {
        n = (n + ALIGNED - 1) / ALIGNED * ALIGNED;
        const std::lock_guard<std::mutex> guard(lock_);
        auto found = free_.lower_bound({n, 0});
        if (found == free_.end()) {
            release_unused();
            if (!add_segment(n)) return nullptr;
            found = free_.lower_bound({n, 0});
        }
        const auto [size, at] = *found;
        free_.erase(found);
        Block& block = blocks_.at(at);
        block.is_free = false;
        if (size > n) {
            blocks_.emplace(at + n, Block{size - n, block.segment, true});
            free_.insert({size - n, at + n});
            block.size = n;
        }
        return reinterpret_cast<void*>(at);
    }

    // Whether the block is one of these; it is free then, and kept for others as long as the pool is in use.
    bool give_back(void* pointer) {
        const std::lock_guard<std::mutex> guard(lock_);
        const auto at = reinterpret_cast<std::uintptr_t>(pointer);
        auto block = blocks_.find(at);
        if (block == blocks_.end()) return false;
        const auto next = std::next(block);
        if (next != blocks_.end() && joins(block, next)) {
            free_.erase({next->second.size, next->first});
            block->second.size += next->second.size;
            blocks_.erase(next);
        }
        if (block != blocks_.begin()) {
            const auto before = std::prev(block);
            if (joins(before, block)) {
                free_.erase({before->second.size, before->first});
                before->second.size += block->second.size;
                blocks_.erase(block);
                block = before;
            }
        }
        block->second.is_free = true;
        free_.insert({block->second.size, block->first});
        if (!in_use) {
            const auto segment = segments_.find(block->second.segment);
            if (is_unused(segment)) release(segment);
        }
        return true;
    }

    // Give segments back to the kernel that hold nothing.
    void release() {
        const std::lock_guard<std::mutex> guard(lock_);
        release_unused();
    }

    std::size_t held() {
        const std::lock_guard<std::mutex> guard(lock_);
        return held_;
    }

private:
    struct Block {
        std::size_t size;
        std::uintptr_t segment;
        bool is_free;
    };
    using Blocks = std::map<std::uintptr_t, Block>;
    // Size by address.
    using Segments = std::map<std::uintptr_t, std::size_t>;

    // Of two blocks, one after the other, one of which is being freed.
    static bool joins(Blocks::iterator first, Blocks::iterator second) {
        return first->second.segment == second->second.segment && (first->second.is_free || second->second.is_free);
    }

    bool add_segment(std::size_t n) {
        const std::size_t size = std::max(SEGMENT, (n + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
        void* all = mmap(nullptr, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (all == MAP_FAILED) return false;
        // Keep what begins at a huge page.
        const auto begin = reinterpret_cast<std::uintptr_t>(all);
        const auto at = (begin + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        if (at > begin) munmap(all, at - begin);
        if (const auto rest = begin + HUGE_PAGE - at) munmap(reinterpret_cast<void*>(at + size), rest);
        // A wish: a kernel without huge pages gives others.
        (void)madvise(reinterpret_cast<void*>(at), size, MADV_HUGEPAGE);
        blocks_.emplace(at, Block{size, at, true});
        free_.insert({size, at});
        segments_.emplace(at, size);
        held_ += size;
        return true;
    }

    void release_unused() {
        for (auto segment = segments_.begin(); segment != segments_.end();) {
            segment = is_unused(segment) ? release(segment) : std::next(segment);
        }
    }

    bool is_unused(Segments::iterator segment) const {
        const auto& block = blocks_.at(segment->first);
        return block.is_free && block.size == segment->second;
    }

    // The next one.
    Segments::iterator release(Segments::iterator segment) {
        const auto [at, size] = *segment;
        free_.erase({size, at});
        blocks_.erase(at);
        munmap(reinterpret_cast<void*>(at), size);
        held_ -= size;
        return segments_.erase(segment);
    }

    std::mutex lock_;
    Blocks blocks_;
    std::set<std::pair<std::size_t, std::uintptr_t>> free_;
    Segments segments_;
    std::size_t held_ = 0;
};

// Never destroyed: tensors may outlive everything else of a process.
Pool& pool() {
    static Pool* one = new Pool;
    return *one;
}

void give_back(void* pointer) {
    if (pointer != nullptr && !pool().give_back(pointer)) c10::free_cpu(pointer);
}

class PoolAllocator final : public c10::Allocator {
public:
    c10::DataPtr allocate(std::size_t n) override {
        void* data = nullptr;
        if (n >= LEAST && in_use) data = pool().take(n);
        if (data == nullptr) data = c10::alloc_cpu(n);
        return {data, data, &give_back, c10::Device(c10::DeviceType::CPU)};
    }
    c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
    void copy_data(void* to, const void* from, std::size_t n) const override { default_copy_data(to, from, n); }
};

// From the first use on torch asks this allocator, which hands on to the C library while it is not in use.
void use_pool(bool use) {
    static PoolAllocator allocator;
    static std::once_flag once;
    if (use) std::call_once(once, [] { c10::SetCPUAllocator(&allocator, 1); });
    in_use = use;
    if (!use) pool().release();
}

std::int64_t pool_bytes() { return static_cast<std::int64_t>(pool().held()); }

#else

void use_pool(bool) {}
std::int64_t pool_bytes() { return 0; }

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(mtt_training, library) {
    library.def("use_pool(bool use) -> ()", &use_pool);
    library.def("pool_bytes() -> int", &pool_bytes);
}

}  // namespace mtt::training
